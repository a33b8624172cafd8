//! Where those come from who are refused again and again.
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use libp2p_core::{ConnectedPoint, multiaddr::Protocol};

/// Refusals of one place that nobody minds: members try several addresses at once, and try again.
const PATIENCE: f64 = 16.0;
/// … and that are forgiven each second. A handshake takes about a millisecond of a processor, so a place cannot take
/// more than half a hundredth of one; and a member behind the same router still finds its turn.
const FORGIVEN: f64 = 4.0;
/// Places remembered; with more, those that come then are let try.
const MAX_PLACES: usize = 4096;

/// What one host commonly has: an IPv4 address, or the /64 of its link.
type Place = IpAddr;

/// Counts refusals by place.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    refused: Mutex<HashMap<Place, (f64, Instant)>>,
    turned_away: AtomicU64,
}

impl Suspects {
    /// Notes that somebody from there was refused, who had come by itself and not through a relay.
    pub(crate) fn blame(&self, point: &ConnectedPoint) {
        let ConnectedPoint::Listener { send_back_addr, .. } = point else {
            return;
        };
        let ip: IpAddr = match send_back_addr.iter().next() {
            Some(Protocol::Ip4(ip)) => ip.into(),
            Some(Protocol::Ip6(ip)) => ip.into(),
            _ => return,
        };
        // What comes through a web server has the address of that. This host is one place with as many nodes as
        // anybody likes.
        let is_web = send_back_addr
            .iter()
            .any(|part| matches!(part, Protocol::Ws(_) | Protocol::Wss(_)));
        if !point.is_relayed() && !is_web && !ip.is_loopback() {
            self.count(ip, Instant::now());
        }
    }

    /// Whether so many from `ip` were refused that the next one is not worth a handshake.
    pub(crate) fn turns_away(&self, ip: IpAddr) -> bool {
        let turned_away = self.is_over(ip, Instant::now());
        self.turned_away.fetch_add(turned_away.into(), Ordering::Relaxed);
        turned_away
    }

    /// How many were turned away.
    pub(crate) fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    fn count(&self, ip: IpAddr, now: Instant) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= MAX_PLACES {
            refused.retain(|_, counted| left(counted, now) > 0.0);
        }
        let has_room = refused.len() < MAX_PLACES;
        let place = place(ip);
        if let Some(counted) = refused.get_mut(&place) {
            // As many as were under way together are not held against a place for long.
            *counted = ((left(counted, now) + 1.0).min(2.0 * PATIENCE), now);
        } else if has_room {
            refused.insert(place, (1.0, now));
        }
    }

    fn is_over(&self, ip: IpAddr, now: Instant) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = refused.get(&place(ip));
        counted.is_some_and(|counted| left(counted, now) > PATIENCE - 1.0)
    }
}

/// Refusals that are not forgiven yet.
fn left((count, since): &(f64, Instant), now: Instant) -> f64 {
    let forgiven = now.saturating_duration_since(*since).as_secs_f64() * FORGIVEN;
    (count - forgiven).max(0.0)
}

fn place(ip: IpAddr) -> Place {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_place_is_turned_away_after_some_refusals_and_forgiven_with_time() {
        let suspects = Suspects::default();
        let (here, now) = ("192.0.2.1".parse().unwrap(), Instant::now());
        let tried = (0..1_000).filter(|_| {
            let let_in = !suspects.is_over(here, now);
            if let_in {
                suspects.count(here, now);
            }
            let_in
        });
        assert_eq!(tried.count(), PATIENCE as usize);
        assert!(
            !suspects.is_over("192.0.2.2".parse().unwrap(), now),
            "another place"
        );
        let in_a_second = now + Duration::from_secs(1);
        let tried = (0..1_000).filter(|_| {
            let let_in = !suspects.is_over(here, in_a_second);
            if let_in {
                suspects.count(here, in_a_second);
            }
            let_in
        });
        assert_eq!(tried.count(), FORGIVEN as usize);
        assert!(!suspects.is_over(here, now + Duration::from_secs(9)));
    }

    #[test]
    fn a_link_is_one_place_and_places_are_bounded() {
        let (suspects, now) = (Suspects::default(), Instant::now());
        for host in 0..PATIENCE as u16 {
            suspects.count(std::net::Ipv6Addr::new(1, 2, 3, 4, 5, 6, 7, host).into(), now);
        }
        assert!(suspects.is_over("1:2:3:4::".parse().unwrap(), now));
        assert!(!suspects.is_over("1:2:3:5::".parse().unwrap(), now));
        for number in 0..10_000_u32 {
            suspects.count(std::net::Ipv4Addr::from_bits(number).into(), now);
        }
        assert_eq!(suspects.refused.lock().unwrap().len(), MAX_PLACES);
        suspects.count("9.9.9.9".parse().unwrap(), now + Duration::from_secs(60));
        assert_eq!(suspects.refused.lock().unwrap().len(), 1);
    }
}
