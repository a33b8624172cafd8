//! Who has registered at this node, as a point. Pure: it is told the time.
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use libp2p_identity::PeerId;

use crate::{
    config::Limits,
    reach::Range,
    wire::{Discovered, MAX_REGISTRATIONS, Record, Refused, Registration},
};

/// What a client gets that does not say how long, in seconds: the specification's two hours.
const DEFAULT_TTL: u64 = 2 * 3600;
/// Shorter ones would only be made to be made again.
const LEAST_TTL: u64 = 60;

#[derive(Debug)]
struct Entry {
    registration: Registration,
    range: Option<Range>,
    ends: Instant,
}

/// Registrations, each with a number that is higher than those before it, also in earlier lives of the node: a client
/// that says the highest it has seen is told what came since.
#[derive(Debug)]
pub(crate) struct Registry {
    limits: Limits,
    next: u64,
    numbers: HashMap<(PeerId, String), u64>,
    entries: BTreeMap<u64, Entry>,
}

impl Registry {
    pub(crate) fn new(limits: Limits) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            limits,
            // Room for a million registrations in each second.
            next: since_1970.as_secs() << 20,
            numbers: HashMap::new(),
            entries: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes in what `peer` has signed, in place of what it has said before; seconds for which.
    pub(crate) fn register(
        &mut self,
        peer: PeerId,
        range: Option<Range>,
        (namespace, record): (String, Record),
        ttl: Option<u64>,
        now: Instant,
    ) -> Result<u64, Refused> {
        if record.peer != peer {
            return Err(Refused::NotAuthorized);
        }
        self.unregister(peer, &namespace);
        if !self.has_room(&peer, range) {
            self.expire(now);
            if !self.has_room(&peer, range) {
                return Err(Refused::Unavailable);
            }
        }
        let most = self.limits.ttl.get().as_secs().max(LEAST_TTL);
        let ttl = ttl.unwrap_or(DEFAULT_TTL).clamp(LEAST_TTL, most);
        let number = self.next;
        self.next += 1;
        self.numbers.insert((peer, namespace.clone()), number);
        let entry = Entry {
            registration: Registration {
                namespace,
                record,
                ttl,
            },
            range,
            ends: now + Duration::from_secs(ttl),
        };
        self.entries.insert(number, entry);
        Ok(ttl)
    }

    /// Forgets what `peer` has said.
    pub(crate) fn unregister(&mut self, peer: PeerId, namespace: &str) {
        if let Some(number) = self.numbers.remove(&(peer, namespace.to_owned())) {
            self.entries.remove(&number);
        }
    }

    /// Who is registered, the earliest first; who was told with `cookie` is left out.
    pub(crate) fn discover(
        &self,
        namespace: Option<&str>,
        limit: Option<u64>,
        cookie: Option<&[u8]>,
        now: Instant,
    ) -> Result<Discovered, Refused> {
        let seen = match cookie {
            None => 0,
            Some(cookie) => {
                let (number, of) = cookie.split_first_chunk().ok_or(Refused::Cookie)?;
                if of != namespace.unwrap_or_default().as_bytes() {
                    return Err(Refused::Cookie);
                }
                u64::from_be_bytes(*number)
            }
        };
        let limit = limit.map_or(MAX_REGISTRATIONS, |limit| {
            usize::try_from(limit).map_or(MAX_REGISTRATIONS, |limit| limit.min(MAX_REGISTRATIONS))
        });
        let is_wanted = |entry: &Entry| {
            entry.ends > now && namespace.is_none_or(|wanted| wanted == entry.registration.namespace)
        };
        let mut highest = seen;
        let mut registrations = Vec::new();
        let later = self.entries.range(seen.saturating_add(1)..);
        for (number, entry) in later.filter(|(_, entry)| is_wanted(entry)).take(limit) {
            highest = *number;
            registrations.push(Registration {
                ttl: (entry.ends - now).as_secs(),
                ..entry.registration.clone()
            });
        }
        let mut cookie = highest.to_be_bytes().to_vec();
        cookie.extend_from_slice(namespace.unwrap_or_default().as_bytes());
        Ok(Discovered {
            registrations,
            cookie,
        })
    }

    /// Whether one more of `peer` may be taken in.
    fn has_room(&self, peer: &PeerId, range: Option<Range>) -> bool {
        let (mut of_peer, mut of_range) = (0, 0);
        for entry in self.entries.values() {
            of_peer += usize::from(entry.registration.record.peer == *peer);
            of_range += usize::from(entry.range == range);
        }
        self.entries.len() < self.limits.registrations
            && of_peer < self.limits.per_peer
            && of_range < self.limits.per_address
    }

    fn expire(&mut self, now: Instant) {
        self.entries.retain(|_, entry| entry.ends > now);
        let entries = &self.entries;
        self.numbers.retain(|_, number| entries.contains_key(number));
    }
}

#[cfg(test)]
mod tests {
    use cardume_units::Duration as Span;

    use super::*;

    fn registry(registrations: usize, per_peer: usize, per_address: usize) -> Registry {
        Registry::new(Limits {
            registrations,
            per_peer,
            per_address,
            ttl: Span::from_secs(600),
        })
    }

    fn range(n: u8) -> Option<Range> {
        Range::of(&format!("/ip4/192.0.2.{n}/tcp/1").parse().unwrap())
    }

    fn register(
        registry: &mut Registry,
        peer: PeerId,
        place: u8,
        namespace: &str,
        now: Instant,
    ) -> Result<u64, Refused> {
        let record = Record {
            peer,
            addresses: Vec::new(),
            signed: vec![place],
        };
        registry.register(peer, range(place), (namespace.into(), record), Some(100), now)
    }

    fn peers(found: &Discovered) -> Vec<PeerId> {
        found.registrations.iter().map(|one| one.record.peer).collect()
    }

    #[test]
    fn the_number_of_registrations_is_bounded_in_all_for_each_peer_and_for_each_address() {
        let now = Instant::now();
        let mut registry = registry(4, 2, 3);
        let peer = PeerId::random();
        register(&mut registry, peer, 1, "a", now).unwrap();
        register(&mut registry, peer, 1, "b", now).unwrap();
        assert_eq!(
            register(&mut registry, peer, 1, "c", now),
            Err(Refused::Unavailable)
        );
        // Said again, it takes no more room.
        for _ in 0..10 {
            register(&mut registry, peer, 1, "a", now).unwrap();
        }
        register(&mut registry, PeerId::random(), 1, "a", now).unwrap();
        let more = register(&mut registry, PeerId::random(), 1, "a", now);
        assert_eq!(more, Err(Refused::Unavailable), "too many of one address");
        register(&mut registry, PeerId::random(), 2, "a", now).unwrap();
        let more = register(&mut registry, PeerId::random(), 3, "a", now);
        assert_eq!(more, Err(Refused::Unavailable), "too many in all");
        assert_eq!((registry.len(), registry.numbers.len()), (4, 4));

        let later = now + Duration::from_secs(101);
        register(&mut registry, PeerId::random(), 3, "a", later).unwrap();
        assert_eq!(
            (registry.len(), registry.numbers.len()),
            (1, 1),
            "the others have ended"
        );
    }

    #[test]
    fn a_client_is_told_what_came_since_it_last_asked() {
        let now = Instant::now();
        let mut registry = registry(100, 9, 100);
        let all: Vec<_> = (0..5).map(|_| PeerId::random()).collect();
        for peer in &all {
            register(&mut registry, *peer, 1, "a", now).unwrap();
            register(&mut registry, *peer, 1, "b", now).unwrap();
        }
        let ask = |registry: &Registry, cookie: Option<&[u8]>| {
            registry.discover(Some("a"), Some(3), cookie, now).unwrap()
        };
        let first = ask(&registry, None);
        assert_eq!(peers(&first), all[..3]);
        let rest = ask(&registry, Some(&first.cookie));
        assert_eq!(peers(&rest), all[3..]);
        let none = ask(&registry, Some(&rest.cookie));
        assert_eq!((peers(&none), &none.cookie), (vec![], &rest.cookie));
        registry.unregister(all[4], "a");
        register(&mut registry, all[0], 1, "a", now).unwrap();
        assert_eq!(
            peers(&ask(&registry, Some(&rest.cookie))),
            all[..1],
            "one has moved"
        );
        assert_eq!(
            registry
                .discover(None, None, None, now)
                .unwrap()
                .registrations
                .len(),
            9
        );
        for cookie in [&[][..], &[0; 7], &first.cookie] {
            let refused = registry.discover(Some("b"), None, Some(cookie), now);
            assert_eq!(refused, Err(Refused::Cookie));
        }
        assert_eq!(peers(&ask(&registry, Some(&[&[0xff; 8][..], b"a"].concat()))), []);
        let later = now + Duration::from_secs(101);
        assert_eq!(
            registry.discover(None, None, None, later).unwrap().registrations,
            []
        );
    }

    #[test]
    fn nobody_registers_somebody_else_or_for_longer_than_is_granted() {
        let (now, mut registry) = (Instant::now(), registry(9, 9, 9));
        let (peer, other) = (PeerId::random(), PeerId::random());
        let record = |peer| Record {
            peer,
            addresses: Vec::new(),
            signed: Vec::new(),
        };
        let mut ask = |record, ttl| registry.register(peer, None, ("a".into(), record), ttl, now);
        assert_eq!(ask(record(other), None), Err(Refused::NotAuthorized));
        assert_eq!(ask(record(peer), None), Ok(600));
        assert_eq!(ask(record(peer), Some(u64::MAX)), Ok(600));
        assert_eq!(ask(record(peer), Some(0)), Ok(60));
    }
}
