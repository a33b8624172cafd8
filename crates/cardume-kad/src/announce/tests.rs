use std::collections::BTreeMap;

use libp2p_kad::KBucketKey;

use super::{ring::BATCH, *};
use crate::config::TTL;

const INTERVAL: Duration = Duration::from_secs(12 * 3600);

fn keys(n: u32) -> impl Iterator<Item = Key> {
    (0..n).map(|n| Key::new(&[&[0x1e, 0x20], n.to_be_bytes().as_slice(), &[7; 28]].concat()))
}

/// The memory that this process has in use, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

/// A network as its lookups show it.
struct Network(Vec<(Place, PeerId)>);

impl Network {
    fn of(peers: usize) -> Self {
        let peers = (0..peers).map(|_| PeerId::random());
        let place = |peer: PeerId| ring::Place::from_big_endian(KBucketKey::from(peer).hashed_bytes());
        Self(peers.map(|peer| (place(peer), peer)).collect())
    }

    fn closest(&self, to: Place) -> Vec<PeerId> {
        let mut near: Vec<_> = self.0.iter().map(|(at, peer)| (*at ^ to, *peer)).collect();
        let k = near.len().min(20);
        near.select_nth_unstable(k - 1);
        near.truncate(k);
        near.sort_unstable();
        near.into_iter().map(|(_, peer)| peer).collect()
    }
}

/// What came of following a ring for a while.
#[derive(Default)]
struct Run {
    lookups: usize,
    /// Keys announced in each minute.
    minutes: BTreeMap<u64, usize>,
    /// Of each key, how often it was announced.
    times: HashMap<Place, usize>,
}

/// Follows the ring in a time that passes at once; each lookup serves what it finds.
fn follow(ring: &mut Ring, network: &Network, from: Instant, time: Duration) -> Run {
    let (mut run, mut now) = (Run::default(), from);
    while now < from + time {
        let next = ring.follow(now);
        let keys = ring.take(now);
        if keys.is_empty() {
            now = next.unwrap_or(from + time).max(now + Duration::from_millis(1));
            continue;
        }
        run.lookups += 1;
        let region = share_out(&keys, &network.closest(keys[0].0));
        ring.put_back(&region.left, now);
        ring.told(&region.served, now);
        *run.minutes.entry((now - from).as_secs() / 60).or_default() += region.served.len();
        for place in region.served {
            *run.times.entry(place).or_default() += 1;
        }
    }
    run
}

#[test]
fn a_hundred_thousand_keys_are_announced_evenly_and_many_by_one_lookup() {
    const KEYS: usize = 100_000;
    let now = Instant::now();
    let before = resident();
    let mut ring = Ring::new(INTERVAL, 7, now);
    for key in keys(KEYS as u32) {
        ring.add(key, None, now);
    }
    let memory = resident().saturating_sub(before);
    println!(
        "{KEYS} keys in {} KiB, {} bytes each",
        memory >> 10,
        memory / KEYS
    );
    assert!(memory < 64 << 20, "{memory}");
    let run = a_round(&mut ring, &Network::of(5), now, KEYS);
    assert!(run.times.len() > KEYS * 99 / 100, "{}", run.times.len());
    assert!(run.times.values().all(|times| *times == 1));
}

#[test]
fn a_lookup_serves_many_keys_in_a_network_of_five_hundred() {
    const KEYS: usize = 5_000;
    let now = Instant::now();
    let mut ring = Ring::new(INTERVAL, 7, now);
    for key in keys(KEYS as u32) {
        ring.add(key, None, now);
    }
    a_round(&mut ring, &Network::of(500), now, KEYS);
}

/// Follows the ring until it is settled, and then for one interval, which it measures.
fn a_round(ring: &mut Ring, network: &Network, now: Instant, keys: usize) -> Run {
    let settled = now + INTERVAL * 3 / 2;
    follow(ring, network, now, settled - now);
    let run = follow(ring, network, settled, INTERVAL);
    let told: usize = run.minutes.values().sum();
    let each = run.lookups as f64 / told as f64;
    let mean = keys as f64 / (INTERVAL.as_secs() as f64 / 60.0);
    let most = run.minutes.values().max().copied().unwrap_or(0);
    let peers = network.0.len();
    println!(
        "{peers} peers, {keys} keys: {each:.4} lookups a key, {most} keys in the busiest minute of {mean:.0}"
    );
    // Of so few keys a minute, one batch alone is more than twice the mean.
    assert!(
        most as f64 <= (2.0 * mean).max(BATCH as f64 * 2.0),
        "{most} of {mean}"
    );
    assert!(each < 0.1, "{each}");
    run
}

#[test]
fn every_key_is_told_to_nearly_the_closest_peers_whichever_was_looked_up() {
    let network = Network::of(1000);
    let mut ring = Ring::new(INTERVAL, 0, Instant::now());
    for key in keys(5_000) {
        ring.add(key, None, Instant::now());
    }
    let (mut kept, mut of) = (0, 0);
    for _ in 0..4 {
        let keys = ring.take(Instant::now());
        let region = share_out(&keys, &network.closest(keys[0].0));
        let told = |peer: &PeerId, key: &Key| region.told.get(peer).is_some_and(|keys| keys.contains(key));
        for (place, key) in keys.iter().filter(|(place, _)| region.served.contains(place)) {
            let closest = network.closest(*place);
            let near = closest.iter().filter(|peer| told(peer, key)).count();
            assert!(near >= 8, "a lookup asks the twenty closest: {near} of them know");
            (kept, of) = (kept + near, of + 20);
        }
    }
    assert!(kept * 10 > of * 8, "{kept} of {of}");
}

#[test]
fn after_a_restart_only_what_is_due_is_announced() {
    let now = Instant::now();
    let network = Network::of(5);
    let mut ring = Ring::new(INTERVAL, 1 << 60, now);
    for key in keys(1000) {
        ring.add(key, Some(Duration::from_secs(7 * 3600)), now);
    }
    let hour = follow(&mut ring, &network, now, Duration::from_secs(3600));
    let told: usize = hour.minutes.values().sum();
    assert!((50..120).contains(&told), "a twelfth of a thousand: {told}");
    ring.add(Key::new(b"new"), None, now);
    ring.add(Key::new(b"lapsed"), Some(TTL), now);
    assert_eq!(
        ring.take(now).len(),
        2,
        "what nobody knows any more does not wait"
    );
}

#[test]
fn what_nobody_heard_is_due_again_later_or_when_a_peer_joins() {
    let now = Instant::now();
    let mut ring = Ring::new(INTERVAL, 0, now);
    ring.add(Key::new(b"key"), None, now);
    let places: Vec<_> = ring.take(now).into_iter().map(|(place, _)| place).collect();
    ring.failed(&places, now);
    assert_eq!(ring.follow(now), Some(now + Duration::from_secs(60)));
    assert!(ring.take(now).is_empty());
    ring.retry(now);
    assert_eq!(ring.take(now).len(), 1);
    ring.failed(&places, now);
    assert_eq!(ring.follow(now), Some(now + Duration::from_secs(120)));
    ring.remove(&Key::new(b"key"));
    ring.follow(now + INTERVAL);
    assert!(ring.take(now + INTERVAL).is_empty());
}
