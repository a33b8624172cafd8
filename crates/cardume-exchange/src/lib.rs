//! Content given and got: whom to ask, for what, how many at once, and whom to answer.
//!
//! It opens no connections itself, knows no bytes on the wire, and decides nothing about what the operator shares.
//!
//! # Invariants
//!
//! * Nothing that has not been verified against its content id is handed on, written under its name, or believed: no
//!   byte, no size, no directory.
//! * A peer that is proven to lie is cut off, and what others sent needs no second look.
//! * A peer that may not have some content is told what it would be told if it were not here.
//! * Whatever peers send, memory stays within what the configuration allows.
//! * Nothing is hashed, read or written on the task that runs this: the store is asked from blocking threads.
use std::sync::{Arc, Mutex};

use libp2p_identity::PeerId;
use tokio::sync::mpsc;

mod announce;
mod config;
mod disk;
mod door;
mod download;
mod error;
mod fetch;
pub mod giving;
mod goal;
mod handle;
mod journal;
mod known;
mod lay;
mod load;
mod plan;
mod pulls;
mod read;
mod register;
mod repair;
pub mod schedule;
mod sending;
mod serve;
mod served;
mod server;
mod sources;
mod spans;
mod tally;
mod words;

pub use self::{
    announce::provider_key,
    config::Config,
    error::FetchError,
    handle::Handle,
    load::Load,
    register::Fetch,
    repair::Mend,
    served::Serving,
    server::Server,
    words::{
        Destination, FetchRequest, Fetched, Phase, Progress, Reading, Resolved, Running, Source, origins,
    },
};

/// Commands waiting to be taken up.
const COMMANDS: usize = 256;

impl Config {
    /// Builds the exchange of one node; `roll` says who is meant by the lists of roots.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the node, by name")]
    pub fn build(
        &self,
        store: cardume_store::Store,
        transfer: cardume_transfer::Handle,
        inbound: cardume_transfer::Server,
        kad: cardume_kad::Handle,
        connect: cardume_connect::Handle,
        local: PeerId,
        database: Arc<redb::Database>,
        roll: cardume_access::Roll,
    ) -> (Handle, Server) {
        let threads = std::thread::available_parallelism().map_or(4, usize::from).max(2) * 4;
        let door = door::Door::new(store.clone(), roll);
        let disk = disk::Disk::new(store, threads);
        let known = Arc::<known::Known>::default();
        let board = Arc::<announce::Board>::default();
        let register = Arc::<Mutex<register::Register>>::default();
        let sending = Arc::<sending::Sending>::default();
        let served = Arc::<served::Served>::default();
        let settings = config::Settings::new(self.clone());
        let load = Arc::<load::Counted>::default();
        let (sender, commands) = mpsc::channel(COMMANDS);
        let pulls = pulls::Pulls::default();
        let answerer = serve::Answerer {
            door,
            disk: disk.clone(),
            pulls: pulls.clone(),
            connect: connect.clone(),
            known: known.clone(),
            board: board.clone(),
            waiting: Arc::default(),
            settings: settings.clone(),
            buffers: cardume_transfer::Buffers::default(),
            sending: sending.clone(),
            served: served.clone(),
        };
        let finder = sources::Finder {
            transfer,
            kad,
            connect,
            origin: cardume_origin::Handle::closed(),
            pulls,
            local,
            known,
            sending,
            load: load.clone(),
        };
        let server = Server {
            settings: settings.clone(),
            disk,
            finder,
            answerer,
            inbound,
            commands,
            board: board.clone(),
            register: register.clone(),
            journal: journal::Journal::new(database),
            data_dir: None,
        };
        let handle = Handle::new(sender, board, register, served, settings, load);
        (handle, server)
    }
}
