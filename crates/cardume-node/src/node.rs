//! A running node, from start to drained.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cardume_access::{List, Roll};
use cardume_connect::Addresses;
use cardume_store::Store;
use libp2p::PeerId;
use redb::Database;
use tokio::{task::JoinHandle, time::timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, NodeError, StartError, care,
    follow::Follows,
    home::Home,
    lock::Lock,
    places::Places,
    publish, reload,
    surroundings::Surroundings,
    swarm,
    tables::Tables,
    tasks::Tasks,
    topics,
    wanted::Fetches,
    wiring::{self, Wired},
};

/// One node. Dropping it stops everything at once; [`Node::shutdown`] drains first.
pub struct Node {
    peer: PeerId,
    socket: PathBuf,
    data_dir: PathBuf,
    grace: Duration,
    pub(crate) roll: Roll,
    pub(crate) relay_allow: List,
    pub(crate) kad_allow: List,
    pub(crate) connect: cardume_connect::Handle,
    pub(crate) membership: cardume_membership::Handle,
    pub(crate) tunnels: cardume_tunnel::Handle,
    pub(crate) tables: Tables,
    pub(crate) database: Arc<Database>,
    pub(crate) exchange: cardume_exchange::Handle,
    gossipsub: cardume_gossipsub::Handle,
    shares: cardume_share::Handle,
    pub(crate) rates: cardume_transfer::rates::Handle,
    /// The configuration that it runs with: what was reloaded is in it.
    pub(crate) running: tokio::sync::Mutex<Config>,
    pub(crate) configuration: cardume_control::Configuration,
    pub(crate) asked: tokio::sync::Mutex<tokio::sync::mpsc::Receiver<cardume_control::Asked>>,
    pub(crate) store: Store,
    pub(crate) tasks: Tasks,
    /// Cancelled when the node is to stop, by whomever.
    stop: CancellationToken,
    /// What is stopped in turn: doors take nothing new, work drains, then the swarm is let go.
    phases: [Phase; 3],
    _lock: Lock,
}

/// A task that ends when its token says so.
struct Phase {
    name: &'static str,
    token: CancellationToken,
    task: JoinHandle<()>,
}

impl Phase {
    fn spawn(
        tasks: &Tasks,
        name: &'static str,
        token: CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self {
            name,
            token,
            task: tasks.spawn(name, task),
        }
    }
}

impl Node {
    /// Opens the data directory, builds the swarm and the doors, and listens.
    ///
    /// `config.node.data_dir` and the socket of `config.control.listen` must be set: a library looks up no places.
    ///
    /// # Errors
    ///
    /// [`StartError`], with what to do about it. Nothing keeps running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_in(config, Surroundings::default()).await
    }

    /// Does as [`start`](Self::start) says, with what the program has for the node.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn start_in(config: Config, surroundings: Surroundings) -> Result<Self, StartError> {
        if !config.network.has_id() {
            return Err(StartError::Config {
                key: "network.id",
                reason: format!(
                    "{:?} is not 1 to 32 of the characters a-z, 0-9 and -",
                    config.network.id
                ),
            });
        }
        let config = Arc::new(config);
        let opening = {
            let config = config.clone();
            tokio::task::spawn_blocking(move || {
                let home = Home::open(&config)?;
                cardume_share::renew(&config.shares(), &home.store, &home.database)
                    .map_err(|error| cardume_store::OpenError::Database(error.to_string()))?;
                let wired = wiring::wire(&config, &home.key, &home.database, &home.path)?;
                Ok::<_, StartError>((home, wired))
            })
        };
        let (home, wired) = opening.await.expect("opening a data directory does not panic")?;
        Self::assemble(&config, home, wired, surroundings)
    }

    /// Puts the parts together and spawns them, once nothing can fail any more.
    fn assemble(
        config: &Config,
        home: Home,
        wired: Wired,
        surroundings: Surroundings,
    ) -> Result<Self, StartError> {
        let peer = home.key.public().to_peer_id();
        let stop = CancellationToken::new();
        let traffic = wired.transport.traffic.clone();
        let mut swarm = swarm::build(
            &home.key,
            &config.connect,
            wired.transport,
            wired.relays,
            &wired.gate,
            wired.behaviour,
        )?;
        swarm::listen(&mut swarm, &config.listen.addresses)?;
        let (exchange, exchange_server) = config.exchange.build(
            home.store.clone(),
            wired.transfer.clone(),
            wired.transfer_server,
            wired.kad.clone(),
            wired.connect.clone(),
            peer,
            home.database.clone(),
            wired.roll.clone(),
        );
        let (shares, share_server) = wiring::shares(config, &home.store, &home.database, exchange.clone());
        let (topics, topic_server) =
            topics::deliveries(config, wired.gossipsub.clone(), &home.store, exchange.clone())?;
        let tables = Tables::new(
            config,
            shares.clone(),
            wired.channels.clone(),
            wired.gossipsub.clone(),
            topics.clone(),
            wired.roll.clone(),
        )?;
        let wanted = cardume_control::Wanted::default();
        let follows = cardume_control::Follows::default();
        let (configuration, asked) =
            cardume_control::Configuration::new(reload::value(config), reload::facts(config));
        let handles = cardume_control::Handles {
            roll: wired.roll.clone(),
            connect: wired.connect.clone(),
            kad: wired.kad,
            nat: wired.nat,
            rendezvous: wired.rendezvous,
            membership: wired.membership.clone(),
            transfer: wired.transfer,
            traffic,
            rates: wired.rates.clone(),
            exchange: exchange.clone(),
            shares: shares.clone(),
            topics: topics.clone(),
            tunnels: wired.tunnels.clone(),
            store: home.store.clone(),
            wanted: wanted.clone(),
            channels: wired.channels.clone(),
            follows: follows.clone(),
            configuration: configuration.clone(),
            log: surroundings.log,
            doctor: surroundings.doctor,
            stop: stop.clone(),
        };
        let control = wiring::control(config, peer, &home.path, surroundings.control, handles)?;
        let work = CancellationToken::new();
        let places = Places {
            store: home.store.clone(),
            exchange: exchange.clone(),
            stop: work.clone(),
        };
        let fetches = Fetches {
            places: places.clone(),
            board: wanted,
        };
        let follows = Follows {
            channels: wired.channels.clone(),
            places,
            board: follows,
        };
        let published = tables.published.subscribe();
        let publishing = publish::run(published, shares.clone(), wired.channels, work.clone());
        let socket = control.socket().to_owned();

        let tasks = Tasks::new(stop.clone());
        let (doors, turning) = (CancellationToken::new(), CancellationToken::new());
        tasks.spawn(
            "address book",
            wired.connect_server.run(turning.clone().cancelled_owned()),
        );
        // To the end of the swarm: while there are limits, answers under way need it.
        tasks.spawn("rates", wired.rates_server.run(turning.clone().cancelled_owned()));
        if let Some(server) = wired.kad_server {
            tasks.spawn("dht rows", server.run());
        }
        if let Some(server) = wired.gossipsub_server {
            tasks.spawn("topic validators", server.run());
        }
        if let Some(server) = wired.membership_server {
            tasks.spawn("membership", server.run(turning.clone().cancelled_owned()));
        }
        tasks.spawn("web origins", wired.origin_server.run(work.clone()));
        tasks.spawn("topics", topic_server.run(work.clone()));
        tasks.spawn("tunnels", wired.tunnel_server.run(work.clone()));
        tasks.spawn("shares", share_server.run(work.clone()));
        tasks.spawn(
            "fetches",
            cardume_roster::keep(tables.fetches.subscribe(), fetches, work.clone()),
        );
        tasks.spawn("channels", wired.channel_server.run(work.clone()));
        tasks.spawn("publishing", publishing);
        tasks.spawn(
            "following",
            cardume_roster::keep(tables.follows.subscribe(), follows, work.clone()),
        );
        tasks.spawn("store care", care::run(home.store.clone(), work.clone()));
        // Half for callers, so that the other half is left to end fetches and to write down what there is.
        let drain = config.shutdown.grace.get() / 2;
        let phases = [
            Phase::spawn(&tasks, "control", doors.clone(), control.run(doors, drain)),
            Phase::spawn(
                &tasks,
                "exchange",
                work.clone(),
                exchange_server
                    .keep_out_of(home.path.clone())
                    .with_origins(wired.origin)
                    .run(work),
            ),
            Phase::spawn(&tasks, "swarm", turning.clone(), swarm::run(swarm, turning)),
        ];
        Ok(Self {
            peer,
            socket,
            data_dir: home.path,
            grace: config.shutdown.grace.get(),
            roll: wired.roll,
            relay_allow: wired.relay_allow,
            kad_allow: wired.kad_allow,
            connect: wired.connect,
            exchange,
            gossipsub: wired.gossipsub,
            shares,
            rates: wired.rates,
            membership: wired.membership,
            tunnels: wired.tunnels,
            database: home.database,
            tables,
            running: tokio::sync::Mutex::new(config.clone()),
            configuration,
            asked: tokio::sync::Mutex::new(asked),
            store: home.store,
            tasks,
            stop,
            phases,
            _lock: home.lock,
        })
    }

    /// This node's identity.
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// Where the control API is served.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where this node keeps its state.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where this node listens, and where others reach it.
    pub async fn addresses(&self) -> Addresses {
        self.connect.addresses().await.unwrap_or_default()
    }

    /// Who is in which group, as `allow` lists see it.
    pub fn roll(&self) -> &Roll {
        &self.roll
    }

    /// Connections of this node.
    pub fn connect(&self) -> &cardume_connect::Handle {
        &self.connect
    }

    /// Content of this node.
    pub fn exchange(&self) -> &cardume_exchange::Handle {
        &self.exchange
    }

    /// Topics: what peers publish, and what this node does.
    pub fn gossipsub(&self) -> &cardume_gossipsub::Handle {
        &self.gossipsub
    }

    /// What configuration shares, and how it is.
    pub fn shares(&self) -> &cardume_share::Handle {
        &self.shares
    }

    /// How fast content may go.
    pub fn rates(&self) -> &cardume_transfer::rates::Handle {
        &self.rates
    }

    /// Content on disk. Its methods block.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A token that is cancelled when the node is to stop; cancel it to stop the node.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits until the node is to stop: the API said so, or a part of it failed.
    pub async fn finished(&self) {
        self.stop.cancelled().await;
    }

    /// Stops in order, within `shutdown.grace`: doors, work, swarm; then settles the store.
    ///
    /// # Errors
    ///
    /// [`NodeError`] when a task had panicked, something had to be cut off, or the disk failed at the end.
    pub async fn shutdown(self) -> Result<(), NodeError> {
        self.stop.cancel();
        let deadline = tokio::time::Instant::now() + self.grace;
        let mut overdue = None;
        for phase in self.phases {
            phase.token.cancel();
            let mut task = phase.task;
            if timeout_at(deadline, &mut task).await.is_err() {
                tracing::warn!(part = phase.name, "did not end within shutdown.grace; cut off");
                task.abort();
                overdue.get_or_insert(phase.name);
            }
        }
        // The address book and the rows of the DHT are written once more when the swarm is gone.
        if timeout_at(deadline, self.tasks.ended()).await.is_err() {
            overdue.get_or_insert("writing state");
        }
        let store = self.store;
        tokio::task::spawn_blocking(move || store.settle())
            .await
            .expect("settling does not panic")?;
        match (self.tasks.panicked(), overdue) {
            (Some(panicked), _) => Err(NodeError::Panicked(panicked)),
            (None, Some(part)) => Err(NodeError::Overdue(part)),
            (None, None) => Ok(()),
        }
    }
}
