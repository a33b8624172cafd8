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

/// What is let pass of those who are refused, before whoever comes next is not worth a handshake.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Refusals that nobody minds: members try several addresses at once, and try again.
    at_once: f64,
    /// … and that are forgiven each second: a member behind the same router still finds its turn.
    a_second: f64,
}

/// Of one place. A handshake takes about a millisecond of a processor, so one place cannot take more than half a
/// hundredth of one.
const PLACE: Patience = Patience {
    at_once: 16.0,
    a_second: 4.0,
};
/// Of this host, which has as many nodes as anybody likes: three hundredths of a processor.
const THIS_HOST: Patience = Patience {
    at_once: 64.0,
    a_second: 32.0,
};
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
        if let Some(ip) = comes_from(point) {
            self.count(ip, Instant::now());
        }
    }

    /// Notes that a member has come from there: a fleet behind one router that starts all at once leaves connections that
    /// it has not needed, which look like those of strangers.
    pub(crate) fn forgive(&self, point: &ConnectedPoint) {
        if let Some(ip) = comes_from(point) {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.remove(&place(ip));
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
            refused.retain(|place, counted| left(*place, counted, now) > 0.0);
        }
        let has_room = refused.len() < MAX_PLACES;
        let place = place(ip);
        if let Some(counted) = refused.get_mut(&place) {
            // As many as were under way together are not held against a place for long.
            let most = 2.0 * patience(place).at_once;
            *counted = ((left(place, counted, now) + 1.0).min(most), now);
        } else if has_room {
            refused.insert(place, (1.0, now));
        }
    }

    fn is_over(&self, ip: IpAddr, now: Instant) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let place = place(ip);
        let counted = refused.get(&place);
        counted.is_some_and(|counted| left(place, counted, now) > patience(place).at_once - 1.0)
    }
}

/// Where somebody comes from, if that says anything: what comes through a web server has the address of that.
fn comes_from(point: &ConnectedPoint) -> Option<IpAddr> {
    let ConnectedPoint::Listener { send_back_addr, .. } = point else {
        return None;
    };
    let ip: IpAddr = match send_back_addr.iter().next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let is_web = send_back_addr
        .iter()
        .any(|part| matches!(part, Protocol::Ws(_) | Protocol::Wss(_)));
    (!point.is_relayed() && !is_web).then_some(ip)
}

/// Refusals that are not forgiven yet.
fn left(place: Place, (count, since): &(f64, Instant), now: Instant) -> f64 {
    let forgiven = now.saturating_duration_since(*since).as_secs_f64() * patience(place).a_second;
    (count - forgiven).max(0.0)
}

fn patience(place: Place) -> Patience {
    let is_this_host = match place {
        IpAddr::V4(ip) => ip.is_loopback(),
        // The link of ::1.
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    if is_this_host { THIS_HOST } else { PLACE }
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
        assert_eq!(tried.count(), PLACE.at_once as usize);
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
        assert_eq!(tried.count(), PLACE.a_second as usize);
        assert!(!suspects.is_over(here, now + Duration::from_secs(9)));
    }

    #[test]
    fn this_host_has_more_patience_and_not_without_end() {
        for here in ["127.0.0.1", "::1"] {
            let (suspects, now) = (Suspects::default(), Instant::now());
            let here = here.parse().unwrap();
            let let_in = |now| {
                let tried = (0..1_000).filter(|_| {
                    let let_in = !suspects.is_over(here, now);
                    if let_in {
                        suspects.count(here, now);
                    }
                    let_in
                });
                tried.count()
            };
            assert_eq!(let_in(now), THIS_HOST.at_once as usize);
            assert_eq!(let_in(now + Duration::from_secs(1)), THIS_HOST.a_second as usize);
        }
    }

    #[test]
    fn where_members_come_from_nobody_is_turned_away() {
        let suspects = Suspects::default();
        let from = |address: &str| ConnectedPoint::Listener {
            local_addr: "/ip4/192.0.2.9/udp/4011/quic-v1".parse().unwrap(),
            send_back_addr: address.parse().unwrap(),
        };
        let (point, ip) = (from("/ip4/192.0.2.1/udp/1/quic-v1"), "192.0.2.1".parse().unwrap());
        (0..20).for_each(|_| suspects.blame(&point));
        assert!(suspects.turns_away(ip));
        suspects.forgive(&from("/ip4/192.0.2.2/udp/1/quic-v1"));
        assert!(suspects.turns_away(ip), "a member somewhere else");
        suspects.forgive(&point);
        assert!(!suspects.turns_away(ip));
    }

    #[test]
    fn a_link_is_one_place_and_places_are_bounded() {
        let (suspects, now) = (Suspects::default(), Instant::now());
        for host in 0..PLACE.at_once as u16 {
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
