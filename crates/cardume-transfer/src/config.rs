//! The settings of the transfer protocol.
use std::time::Duration;

use cardume_behaviour::Driven;
use libp2p_request_response as request_response;

use crate::{
    Behaviour, Buffers, Handle, Server, Transfer,
    inbound::Serves,
    lines::Lines,
    message::HAVE_WAIT,
    outbound::{Inner, Outbound},
    rates,
    stream::{Codec, WHOLE},
    traffic::Counters,
    wire,
};

/// Streams of this protocol on one connection, both ways together.
///
/// Beyond it libp2p drops a peer's streams in silence and fails ours, so both ends keep below it: 24 of
/// ours, 24 of the peer's, and room for those that are just ending.
const MAX_STREAMS: usize = 64;
/// Time beyond all deadlines of a request after which libp2p ends its stream, whatever has happened.
const BACKSTOP: Duration = Duration::from_secs(15);

/// The `[transfer]` table of the configuration.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Requests of ours on the wire at once, over all peers.
    pub max_in_flight: usize,
    /// Requests of others being answered at once, over all peers; more are answered `Busy`.
    pub max_serving: usize,
    /// … and for one peer.
    pub max_serving_per_peer: usize,
    /// Time in which nothing of a request or its answer comes or goes, after which it has failed. One that is
    /// slow may take up to twenty times as long.
    pub request_timeout: cardume_units::Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_in_flight: 128,
            max_serving: 64,
            max_serving_per_peer: 16,
            request_timeout: cardume_units::Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Makes the behaviour for `network`, the way in, and the requests of others; content keeps within `rates`.
    ///
    /// Counts of zero are taken as one. Whether `network` is a good name is for its owner to check; here it
    /// only becomes part of the protocol's name. The behaviour needs a tokio runtime with time where its
    /// connections are driven. In the swarm it comes after every behaviour that may deny a connection:
    /// `libp2p-request-response` takes a connection for usable as soon as it has been asked about it, and
    /// requests on one that is denied after that only end by timeout.
    pub fn build(&self, network: &str, rates: rates::Handle) -> (Behaviour, Handle, Server) {
        let timeout = self.request_timeout.get();
        let lines = Lines::default();
        let inner = Inner::with_codec(
            Codec::new(timeout, rates.clone(), lines.clone(), Buffers::default()),
            [(wire::protocol(network), request_response::ProtocolSupport::Full)],
            request_response::Config::default()
                .with_request_timeout(timeout * WHOLE + HAVE_WAIT + BACKSTOP)
                .with_max_concurrent_streams(MAX_STREAMS),
        );
        let counters = Counters::default();
        let (serves, requests) = Serves::new(
            self.max_serving.max(1),
            self.max_serving_per_peer.max(1),
            counters.clone(),
            rates.clone(),
        );
        let limit = self.max_in_flight.clamp(1, 1 << 16);
        let transfer = Transfer {
            outbound: Outbound::new(limit, counters.clone()),
            serves,
            lines: lines.clone(),
        };
        let (behaviour, mailbox) = Driven::new(inner, transfer, limit);
        (
            behaviour,
            Handle::new(mailbox, counters, timeout, rates, lines),
            Server { requests },
        )
    }
}
