//! What every connection passes before the swarm sees it.
use std::{
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cardume_access::Roll;
use libp2p_core::{ConnectedPoint, Transport as _, muxing::StreamMuxerBox, transport::Boxed};
use libp2p_identity::PeerId;

use crate::{Flaw, handshake, members::Members, suspects::Suspects};

/// A transport whose connections are authenticated and multiplexed.
pub type Transport = Boxed<(PeerId, StreamMuxerBox)>;

/// At most so often it is said that connections were refused; whoever knocks a thousand times fills no log.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Why a connection was closed as soon as the peer had proven who it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Only listed peers may connect.
    #[error("{0} is in no [peer.*], and network.access is \"listed\"")]
    NotListed(PeerId),
    /// Only members may connect.
    #[error("refused: the certificate of {peer} {flaw}")]
    Certificate {
        /// Who showed it.
        peer: PeerId,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The other side does not want us.
    #[error(
        "refused by the other side, which says that the certificate of this node {0}; see `cardume member show`"
    )]
    ByOther(Flaw),
    /// It does not speak of membership.
    #[error(
        "refused: the other side shows no certificate of this network; it is in another one, or in an open one"
    )]
    Unspoken,
    /// It opened other streams before it had shown a certificate.
    #[error("refused: the other side asked for other things before it had shown a certificate")]
    Unasked,
    /// It sent what is no message.
    #[error("refused: the other side does not speak the membership protocol")]
    Garbled,
    /// It took too long.
    #[error("refused: the other side has shown no certificate in time")]
    Late,
    /// The connection ended before that.
    #[error(
        "the other side closed the connection instead of showing a certificate ({0}); perhaps it refuses this node"
    )]
    Lost(io::ErrorKind),
}

impl Refused {
    /// Every word that [`word`](Self::word) can be.
    pub(crate) const WORDS: [&'static str; 14] = [
        "not_listed",
        "malformed",
        "other_network",
        "other_peer",
        "unknown_authority",
        "not_yet",
        "expired",
        "revoked",
        "by_other",
        "unspoken",
        "unasked",
        "garbled",
        "late",
        "lost",
    ];

    /// The reason in one word, for counting.
    pub(crate) fn word(&self) -> usize {
        match self {
            Self::NotListed(_) => 0,
            Self::Certificate { flaw, .. } => match flaw {
                Flaw::Malformed => 1,
                Flaw::OtherNetwork => 2,
                Flaw::OtherPeer => 3,
                Flaw::UnknownAuthority => 4,
                Flaw::NotYet => 5,
                Flaw::Expired => 6,
                Flaw::Revoked => 7,
            },
            Self::ByOther(_) => 8,
            Self::Unspoken => 9,
            Self::Unasked => 10,
            Self::Garbled => 11,
            Self::Late => 12,
            Self::Lost(_) => 13,
        }
    }
}

/// Lets peers of the network through, and nobody else. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rule: Rule,
    refused: [AtomicU64; Refused::WORDS.len()],
    suspects: Suspects,
    /// When it may be said again that somebody was refused, and how many were since it was said last.
    silent: Mutex<(Instant, u64)>,
}

#[derive(Debug)]
pub(crate) enum Rule {
    Open,
    /// Those that configuration names.
    Listed(Roll),
    Certified(Arc<Members>),
}

impl Gate {
    pub(crate) fn new(rule: Rule) -> Self {
        Self(Arc::new(Inner {
            rule,
            refused: Default::default(),
            suspects: Suspects::default(),
            silent: Mutex::new((Instant::now(), 0)),
        }))
    }

    /// Puts the gate before whatever `transport` brings, made by us or by others.
    pub fn guard(&self, transport: Transport) -> Transport {
        if matches!(self.0.rule, Rule::Open) {
            return transport;
        }
        let gate = self.clone();
        transport
            .and_then(move |(peer, muxer), point| gate.admit(peer, muxer, point))
            .boxed()
    }

    /// Says whom to turn away before a handshake costs anything: those from where so many were refused that the next
    /// one will be, too. None in an open network.
    pub fn screen(&self) -> Option<impl Fn(IpAddr) -> bool + Send + Sync + use<>> {
        let inner = self.0.clone();
        let is_open = matches!(inner.rule, Rule::Open);
        (!is_open).then_some(move |ip| inner.suspects.turns_away(ip))
    }

    /// Connections refused since the start, by reason; reasons that nobody was refused for are left out.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.refused.iter().map(|count| count.load(Ordering::Relaxed));
        let all = Refused::WORDS.into_iter().zip(counts);
        let turned_away = ("turned_away", self.0.suspects.turned_away());
        all.chain([turned_away]).filter(|(_, count)| *count > 0)
    }

    async fn admit(
        self,
        peer: PeerId,
        mut muxer: StreamMuxerBox,
        point: ConnectedPoint,
    ) -> Result<(PeerId, StreamMuxerBox), Refused> {
        let passed = match &self.0.rule {
            Rule::Open => Ok(()),
            Rule::Listed(roll) if roll.names().name(&peer).is_some() => Ok(()),
            Rule::Listed(_) => Err(Refused::NotListed(peer)),
            Rule::Certified(members) => {
                let role = handshake::role(&point);
                handshake::pass(members, peer, &mut muxer, role).await
            }
        };
        match passed {
            Ok(()) => {
                self.0.suspects.forgive(&point);
                Ok((peer, muxer))
            }
            Err(reason) => {
                self.refuse(peer, &point, &reason);
                Err(reason)
            }
        }
    }

    fn refuse(&self, peer: PeerId, point: &ConnectedPoint, reason: &Refused) {
        self.0.refused[reason.word()].fetch_add(1, Ordering::Relaxed);
        self.0.suspects.blame(point);
        let address = point.get_remote_address();
        tracing::debug!(%peer, %address, %reason, "not let in");
        if matches!(reason, Refused::Lost(_)) {
            // Whoever dials several addresses at once leaves all but one.
            return;
        }
        let mut silent = self.0.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, count) = &mut *silent;
        *count += 1;
        if Instant::now() >= *until {
            tracing::info!(connections = *count, %peer, %address, %reason, "not let in; the last of them is named");
            *silent = (Instant::now() + SAID_EVERY, 0);
        }
    }
}
