use std::time::Duration;

use super::*;
use crate::{address::Subnet, journal};

pub(crate) fn records(records: usize, providers: usize) -> Records {
    let dir = tempfile::tempdir().unwrap();
    let database = redb::Database::create(dir.path().join("db")).unwrap();
    let (journal, _server) = journal::open(database.into(), Vec::new());
    let limits = Limits { records, providers };
    Records::new(PeerId::random(), limits, journal, Arc::new(crate::Nothing))
}

fn near(peer: PeerId) -> Source {
    Source { peer, range: None }
}

fn offer(records: &mut Records, record: ProviderRecord) -> std::result::Result<(), Refused> {
    let source = near(record.provider);
    records.offer_provider(source, record)
}

fn provider(key: impl AsRef<[u8]>, provider: PeerId) -> ProviderRecord {
    ProviderRecord::new(Key::new(&key), provider, Vec::new())
}

fn value(key: impl AsRef<[u8]>, value: &[u8]) -> Record {
    Record::new(Key::new(&key), value.to_vec())
}

#[test]
fn our_own_keys_have_room_however_much_one_source_brings() {
    let mut records = records(128, 128);
    let source = PeerId::random();
    let taken = (0..1024_u32)
        .filter(|n| offer(&mut records, provider(n.to_be_bytes(), source)).is_ok())
        .count();
    assert_eq!(taken, SOURCE_FLOOR);
    for n in 0..2000_u32 {
        records
            .add_provider(provider(n.to_be_bytes(), records.local))
            .unwrap();
    }
    assert_eq!(records.provided_keys(), 2000);
    assert_eq!(records.provided().count(), 2000);
}

#[test]
fn a_full_store_gives_every_source_an_equal_share() {
    let mut records = records(128, 256);
    let greedy: Vec<_> = (0..4).map(|_| PeerId::random()).collect();
    for (source, n) in greedy.iter().flat_map(|s| (0..64_u32).map(move |n| (*s, n))) {
        offer(&mut records, provider(n.to_be_bytes(), source)).unwrap();
    }
    let modest = PeerId::random();
    offer(&mut records, provider(b"mine", modest)).unwrap();
    assert_eq!(records.announced.shares.len(), 256);
    assert!(
        records
            .providers(&Key::new(b"mine"))
            .iter()
            .any(|r| r.provider == modest)
    );
}

#[test]
fn the_closest_twenty_providers_of_a_key_are_kept() {
    let mut records = records(128, 1024);
    let target = KBucketKey::new(Key::new(b"key"));
    let mut peers: Vec<_> = (0..60).map(|_| PeerId::random()).collect();
    for peer in &peers {
        let _ = offer(&mut records, provider(b"key", *peer));
    }
    peers.sort_by_key(|peer| KBucketKey::from(*peer).distance(&target));
    let kept: HashSet<_> = records
        .providers(&Key::new(b"key"))
        .iter()
        .map(|r| r.provider)
        .collect();
    assert_eq!(kept, peers.into_iter().take(20).collect());
    assert_eq!(records.announced.shares.len(), 20);
}

#[test]
fn a_range_of_addresses_has_few_of_a_keys_providers_and_half_of_the_store_whatever_its_names() {
    let mut records = records(128, 1024);
    let range = Some(Subnet::V4([198, 51, 100]));
    let far = || Source {
        range,
        ..near(PeerId::random())
    };
    let offer_far = |records: &mut Records, n: u32| {
        let source = far();
        records.offer_provider(source, provider(n.to_be_bytes(), source.peer))
    };
    for n in 0..2000 {
        let _ = offer_far(&mut records, n);
    }
    assert_eq!(records.announced.shares.len(), 512);
    for n in 0..600_u32 {
        offer(&mut records, provider(n.to_be_bytes(), PeerId::random())).unwrap();
    }
    assert_eq!(records.announced.shares.len(), 1024);
    let crowd = records.announced.shares.count_of_range(range);
    assert!((256..512).contains(&crowd), "the crowd has given way: {crowd}");
    let mut records = self::records(128, 1024);
    for _ in 0..50 {
        let source = far();
        let _ = records.offer_provider(source, provider(b"key", source.peer));
    }
    assert_eq!(records.providers(&Key::new(b"key")).len(), 5);
}

#[test]
fn the_bytes_of_announcements_are_bounded() {
    let mut records = records(128, 100_000);
    let addresses: Vec<_> = (0..8)
        .map(|n| {
            format!("/dns4/{}.example/tcp/{n}", "a".repeat(200))
                .parse()
                .unwrap()
        })
        .collect();
    for n in 0..8_000_u32 {
        let mut record = provider(
            [n.to_be_bytes().as_slice(), &[0; 1000]].concat(),
            PeerId::random(),
        );
        record.addresses.clone_from(&addresses);
        let _ = offer(&mut records, record);
    }
    let kept = records.announced.shares.len();
    assert!(
        (5000..7000).contains(&kept),
        "{kept} records of some 2.7 kB in 16 MiB"
    );
}

#[test]
fn what_we_put_is_not_overwritten_by_others() {
    let mut records = records(128, 128);
    records.put(value(b"key", b"ours")).unwrap();
    let refused = records.offer_value(near(PeerId::random()), value(b"key", b"theirs"));
    assert_eq!(refused, Err(Refused::Ours));
    assert_eq!(records.get(&Key::new(b"key")).unwrap().value, b"ours");
}

#[test]
fn values_are_bounded_in_number_in_bytes_and_by_source() {
    let mut records = records(4096, 128);
    let big = vec![0; MAX_VALUE];
    let refused = records.offer_value(near(PeerId::random()), value(b"k", &vec![0; MAX_VALUE + 1]));
    assert_eq!(refused, Err(Refused::TooLarge));
    for n in 0..1000_u32 {
        let _ = records.offer_value(near(PeerId::random()), value(n.to_be_bytes(), &big));
    }
    assert!(records.value_bytes <= MAX_VALUE_BYTES);
    assert_eq!(records.values() * MAX_VALUE, records.value_bytes);
    let source = PeerId::random();
    let mut records = self::records(100, 128);
    for n in 0..100_u32 {
        let _ = records.offer_value(near(source), value(n.to_be_bytes(), b"v"));
    }
    assert_eq!(records.values(), SOURCE_FLOOR);
}

#[test]
fn nothing_of_others_outlives_48_hours() {
    let mut records = records(128, 128);
    let mut long = provider(b"key", PeerId::random());
    long.expires = Some(Instant::now() + Duration::from_secs(1_000_000));
    offer(&mut records, long).unwrap();
    let mut over = value(b"key", b"v");
    over.expires = Some(Instant::now());
    assert_eq!(
        records.offer_value(near(PeerId::random()), over),
        Err(Refused::Expired)
    );
    records
        .offer_value(near(PeerId::random()), value(b"key", b"v"))
        .unwrap();
    records.expire(Instant::now() + TTL - Duration::from_secs(60));
    assert_eq!(records.providers(&Key::new(b"key")).len(), 1);
    records.expire(Instant::now() + TTL + Duration::from_secs(1));
    assert!(records.providers(&Key::new(b"key")).is_empty());
    assert_eq!((records.values(), records.value_bytes), (0, 0));
    assert_eq!(records.announced.shares.len() + records.value_shares.len(), 0);
}

#[test]
fn changes_that_find_the_queue_full_are_counted_and_block_nothing() {
    let mut records = records(128, 20_000);
    for n in 0..10_000_u32 {
        offer(&mut records, provider(n.to_be_bytes(), PeerId::random())).unwrap();
    }
    assert!(records.unsaved() > 0);
    assert_eq!(records.announced.shares.len(), 10_000);
}

#[test]
fn others_are_told_addresses_that_mean_something_where_they_are() {
    let mut records = records(128, 128);
    let mut offered = provider(b"key", PeerId::random());
    offered.addresses = [
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/10.0.0.7/tcp/1",
        "/ip4/203.0.113.7/tcp/1",
    ]
    .map(|text| text.parse().unwrap())
    .to_vec();
    offer(&mut records, offered).unwrap();
    let key = Key::new(b"key");
    for (scope, told) in [(Scope::Host, 3), (Scope::Private, 2), (Scope::Public, 1)] {
        records.show(scope);
        assert_eq!(records.providers(&key)[0].addresses.len(), told, "{scope:?}");
        assert_eq!(records.announced(&key).next().unwrap().addresses.len(), 3);
    }
}

/// Values of keys that begin with `n` are true if they begin with `t`; the second byte counts.
struct Numbers;

impl Judge for Numbers {
    fn knows(&self, key: &[u8]) -> bool {
        key.starts_with(b"n")
    }

    fn rank(&self, _: &[u8], value: &[u8]) -> Option<u64> {
        match value {
            [b't', rank, ..] => Some((*rank).into()),
            _ => None,
        }
    }
}

#[test]
fn of_a_judged_key_the_best_true_value_stays_even_against_our_own() {
    let mut records = records(128, 128);
    records.judge = Arc::new(Numbers);
    let (honest, liar) = (near(PeerId::random()), near(PeerId::random()));
    let here = |records: &Records| records.get(&Key::new(b"n")).unwrap().value.clone();
    records.offer_value(honest, value(b"n", b"t5")).unwrap();
    for (bytes, refused) in [(&b"x9"[..], Refused::Untrue), (b"t4", Refused::Older)] {
        assert_eq!(records.offer_value(liar, value(b"n", bytes)), Err(refused));
    }
    // Of equals the greater one, whoever comes first; and the same again keeps it alive.
    records.offer_value(honest, value(b"n", b"t5b")).unwrap();
    assert_eq!(
        records.offer_value(honest, value(b"n", b"t5a")),
        Err(Refused::Older)
    );
    records.offer_value(honest, value(b"n", b"t5b")).unwrap();
    assert_eq!(here(&records), b"t5b");
    assert_eq!(records.check_own(&Key::new(b"n"), b"t5"), Err(Refused::Older));
    records.put(value(b"n", b"t6")).unwrap();
    assert_eq!(
        records.offer_value(honest, value(b"n", b"t6")),
        Err(Refused::Ours)
    );
    records.offer_value(honest, value(b"n", b"t7")).unwrap();
    assert_eq!(here(&records), b"t7");
    assert_eq!(records.put.len() + records.values.len(), 1);
    // Who lies is soon not heard any more, and others are.
    while records.offer_value(liar, value(b"n", b"x")) != Err(Refused::Liar) {}
    assert_eq!(records.offer_value(liar, value(b"n", b"t8")), Err(Refused::Liar));
    records.offer_value(honest, value(b"n", b"t8")).unwrap();
    records.expire(Instant::now());
    records.offer_value(liar, value(b"n", b"t9")).unwrap();
    // Other keys mean nothing.
    records.offer_value(liar, value(b"other", b"x")).unwrap();
}
