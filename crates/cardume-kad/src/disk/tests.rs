use super::*;

const LIMITS: Limits = Limits {
    records: 16,
    providers: 16,
};

fn database() -> (tempfile::TempDir, Database) {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::create(dir.path().join("db")).unwrap();
    (dir, database)
}

fn provider(expires: Option<Instant>) -> Announcement {
    let record = ProviderRecord {
        key: Key::new(b"key"),
        provider: PeerId::random(),
        expires,
        addresses: vec!["/ip4/192.0.2.1/tcp/4011".parse().unwrap()],
    };
    let range = Some(Subnet::V4([192, 0, 2]));
    Announcement { record, range }
}

fn held(key: &[u8], expires: Option<Instant>) -> Held {
    let mut record = Record::new(Key::new(&key), b"value".to_vec());
    record.expires = expires;
    let source = Source {
        peer: PeerId::random(),
        range: None,
    };
    Held { record, source }
}

#[test]
fn rows_come_back_as_they_were_written() {
    let (_dir, database) = database();
    let later = Some(Instant::now() + Duration::from_secs(3600));
    let (record, value) = (provider(later), held(b"key", later));
    let changes = [
        Change::PutProvider(record.clone()),
        Change::PutValue(value.clone()),
        Change::PutValue(held(b"gone", later)),
        Change::DropValue(Key::new(b"gone")),
    ];
    write(&database, &changes).unwrap();
    let stored = load(&database, LIMITS).unwrap();
    assert!(stored.stale.is_empty());
    assert_eq!(stored.providers.len(), 1);
    let back = &stored.providers[0];
    assert_eq!((&back.record, back.range), (&record.record, record.range));
    assert_eq!(back.record.addresses, record.record.addresses);
    let left = back.record.expires.unwrap() - Instant::now();
    assert!(left > Duration::from_secs(3500) && left <= Duration::from_secs(3600));
    assert_eq!(stored.values.len(), 1);
    assert_eq!(stored.values[0].record.value, b"value");
    assert_eq!(stored.values[0].source, value.source);
}

#[test]
fn expired_damaged_and_surplus_rows_are_left_out_and_removed() {
    let (_dir, database) = database();
    let later = Some(Instant::now() + Duration::from_secs(3600));
    let many = (0..LIMITS.providers + 2).map(|_| Change::PutProvider(provider(later)));
    write(&database, &many.collect::<Vec<_>>()).unwrap();
    write(
        &database,
        &[Change::PutValue(held(b"over", Some(Instant::now())))],
    )
    .unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut values = transaction.open_table(VALUES).unwrap();
        for row in [
            &[][..],
            &[VERSION],
            &[VERSION, 0xff, 0xff],
            &[9, 1, 2],
            &[VERSION; 80_000],
        ] {
            values.insert(&[row.len() as u8, 1][..], row).unwrap();
        }
        let mut providers = transaction.open_table(PROVIDERS).unwrap();
        providers
            .insert((&b"key"[..], &b"nobody"[..]), &[VERSION, 0xa0][..])
            .unwrap();
    }
    transaction.commit().unwrap();
    let stored = load(&database, LIMITS).unwrap();
    assert_eq!(stored.providers.len(), LIMITS.providers);
    assert!(stored.values.is_empty());
    assert!(stored.stale.len() >= 8, "{:?}", stored.stale);
    remove(&database, &stored.stale).unwrap();
    let stored = load(&database, LIMITS).unwrap();
    assert_eq!(stored.providers.len(), LIMITS.providers);
    assert!(stored.stale.is_empty());
}

#[test]
fn a_clock_set_back_makes_no_row_live_longer_than_48_hours() {
    let clock = Clock::now();
    let far = clock.instant(clock.seconds + 1_000_000_000).unwrap();
    assert_eq!(far, clock.instant + TTL);
    assert_eq!(clock.instant(clock.seconds), None);
    assert_eq!(clock.instant(0), None);
    assert!(clock.instant(u64::MAX).is_some());
}
