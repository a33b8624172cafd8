//! The words of the control API, and its client.
//!
//! Serves nothing, and knows nothing of how a node does its work. The shapes here are the JSON that programs
//! outside read: fields may be added, never renamed, and readers ignore what they do not know.
//!
//! # Invariants
//!
//! * A failure is always a [`Problem`] with a [`Code`]; a program needs to read nothing else.
//! * Times are seconds, sizes are bytes, ids are text.

mod care;
mod channel;
pub mod client;
mod content;
mod diagnosis;
mod event;
mod fetch;
mod kad;
mod log;
mod membership;
mod nat;
mod operation;
mod peer;
mod plan;
mod problem;
mod rates;
mod rendezvous;
mod share;
mod status;
mod token;
mod topic;
mod traffic;
mod tunnel;

pub use self::{
    care::{
        Collected, Measured, NewRepair, Repaired, StoreState, StoreStatus, Taken, WantedFetch, WantedState,
    },
    channel::{Channel, Follow, FollowState, NewChannel, NewHold, NewVersion},
    client::{Client, ClientError},
    content::{Entry, EntryKind, File, Held, NewManifest, NewRoot, Stat, Uploaded},
    diagnosis::{Diagnosis, Finding, FindingState},
    event::{Event, PeerChange},
    fetch::{Fetched, NewFetch},
    kad::{Kad, Provider},
    log::{LogEvent, LogLevel, LogLine},
    membership::{MemberCertificate, Membership, Revocations},
    nat::{Mapping, Nat, ObservedAddress, Reachable, Relay, RelayState, TestedAddress, Upnp},
    operation::{Failure, Kind, Operation, Outcome, Phase, Progress, Source, State},
    peer::{BlockedPeer, NewPeer, Path, Peer, PeerDetails, Ping},
    plan::{Applies, Change, ConfigStatus, Plan},
    problem::{Code, Problem},
    rates::{ClassLimits, NewRates, RateLimits, Rates, RatesOrigin},
    rendezvous::{Rendezvous, RendezvousPoint, RendezvousState},
    share::{Broken, Mode, NewShare, Shared, Skipped, Verified},
    status::{Share, ShareState, Status, Version},
    token::{IssuedToken, Login, NewSecret, NewToken, Scope, Token},
    topic::{Delivery, Published, Topic, TopicEvent, TopicMessage, TopicPeer},
    traffic::{NetTraffic, TrafficShare},
    tunnel::{NewTunnel, Tunnel, TunnelProtocol, TunnelRole, TunnelState},
};
