//! Which of our addresses a relay tells those who keep places at it: the ones that reach farthest.
use cardume_behaviour::Scope;
use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_relay as relay;
use libp2p_swarm::{
    FromSwarm, NetworkBehaviour as _,
    behaviour::{ExternalAddrConfirmed, ExternalAddrExpired, toggle::Toggle},
};

/// Our addresses, as they are confirmed and expire.
///
/// The server tells all that it knows to everybody, so it is not told of an address in a private network, or of
/// this host, while there is one that reaches farther; and never of one behind another relay.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    direct: Vec<Multiaddr>,
    scope: Scope,
}

impl Shown {
    /// Whether the server may see this event, which [`take`](Self::take) has been told of.
    pub(crate) fn sees(&self, event: &FromSwarm<'_>) -> bool {
        match event {
            FromSwarm::ExternalAddrConfirmed(e) => is_direct(e.addr) && Scope::of(e.addr) >= self.scope,
            _ => true,
        }
    }

    /// Whether anybody can dial us from anywhere, as far as is known.
    pub(crate) fn is_public(&self) -> bool {
        self.direct
            .iter()
            .any(|address| Scope::of(address) == Scope::Public)
    }

    /// Takes in a change; the server hears what that does to other addresses.
    pub(crate) fn take(&mut self, server: &mut Toggle<relay::Behaviour>, event: &FromSwarm<'_>) {
        match event {
            FromSwarm::ExternalAddrConfirmed(e) if is_direct(e.addr) && !self.direct.contains(e.addr) => {
                self.direct.push(e.addr.clone());
            }
            FromSwarm::ExternalAddrExpired(e) => self.direct.retain(|address| address != e.addr),
            _ => return,
        }
        let farthest = self.direct.iter().map(Scope::of).max().unwrap_or_default();
        let before = std::mem::replace(&mut self.scope, farthest);
        for addr in &self.direct {
            let scope = Scope::of(addr);
            if scope >= before && scope < farthest {
                server.on_swarm_event(FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }));
            } else if scope < before && scope >= farthest {
                server.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }));
            }
        }
    }
}

fn is_direct(address: &Multiaddr) -> bool {
    !address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed(shown: &mut Shown, text: &str) -> bool {
        let addr: Multiaddr = text.parse().unwrap();
        let event = FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr: &addr });
        shown.take(&mut None.into(), &event);
        shown.sees(&event)
    }

    #[test]
    fn addresses_that_reach_less_far_than_others_are_kept_back() {
        let mut shown = Shown::default();
        assert!(confirmed(&mut shown, "/ip4/127.0.0.1/tcp/1"));
        assert!(confirmed(&mut shown, "/ip4/192.168.1.2/tcp/1"));
        assert!(!confirmed(&mut shown, "/ip4/127.0.0.2/tcp/1"));
        assert!(!shown.is_public());
        assert!(confirmed(&mut shown, "/ip4/198.51.100.2/tcp/1"));
        assert!(!confirmed(&mut shown, "/ip4/192.168.1.3/tcp/1"));
        assert!(shown.is_public());
        let circuit =
            "/ip4/198.51.100.3/tcp/1/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA/p2p-circuit";
        assert!(!confirmed(&mut shown, circuit));
    }
}
