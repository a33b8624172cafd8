//! Who has shown secrets that are none, and how often.
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Time after which an address begins anew.
const WINDOW: Duration = Duration::from_secs(60);
/// Failures of an address in that time that are told why; then it is told to wait, whatever it shows that is wrong.
const MAX_FAILURES: u32 = 10;
/// Addresses kept; more would be a way to fill memory.
const MAX_ADDRESSES: usize = 1024;

/// Failed attempts by address. What is right is never refused for what was wrong before: behind a proxy everybody has
/// one address, and 256 random bits are not guessed.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<IpAddr, (Instant, u32)>>);

/// What a failure leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The first for a while: worth a line in the log.
    First,
    Again,
    /// Too many: told to wait for so long.
    Wait(Duration),
}

impl Attempts {
    pub(crate) fn failed(&self, address: IpAddr, now: Instant) -> Verdict {
        let address = network(address);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |began: Instant| now.saturating_duration_since(began) >= WINDOW;
        if table.len() >= MAX_ADDRESSES && !table.contains_key(&address) {
            table.retain(|_, (began, _)| !is_over(*began));
            let oldest = table
                .iter()
                .min_by_key(|(_, row)| row.0)
                .map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| table.len() >= MAX_ADDRESSES) {
                table.remove(&oldest);
            }
        }
        let (began, count) = table.entry(address).or_insert((now, 0));
        if is_over(*began) {
            (*began, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        match *count {
            1 => Verdict::First,
            2..=MAX_FAILURES => Verdict::Again,
            _ => Verdict::Wait(WINDOW.saturating_sub(now.saturating_duration_since(*began))),
        }
    }
}

/// Whoever has one address of IPv6 has its 64 bits behind it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(bits))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_fails_too_often_has_to_wait_and_begins_anew() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let (bad, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert_eq!(attempts.failed(bad, now), Verdict::First);
        for _ in 1..MAX_FAILURES {
            assert_eq!(attempts.failed(bad, now), Verdict::Again);
        }
        assert_eq!(attempts.failed(bad, now), Verdict::Wait(WINDOW));
        assert_eq!(attempts.failed(other, now), Verdict::First);
        assert_eq!(attempts.failed(bad, now + WINDOW), Verdict::First);
    }

    #[test]
    fn the_table_has_an_end_and_a_network_of_ipv6_is_one() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for host in 0..5_000_u32 {
            attempts.failed(IpAddr::V4(host.into()), now);
        }
        assert_eq!(attempts.0.lock().unwrap().len(), MAX_ADDRESSES);
        let last = IpAddr::V4(4_999.into());
        assert_eq!(attempts.failed(last, now), Verdict::Again);
        assert_eq!(
            attempts.failed("2001:db8::1".parse().unwrap(), now),
            Verdict::First
        );
        assert_eq!(
            attempts.failed("2001:db8::ff".parse().unwrap(), now),
            Verdict::Again
        );
    }
}
