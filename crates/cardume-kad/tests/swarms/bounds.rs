//! Bounds and times of the configuration, away from their defaults.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cardume_kad::{Config, KadError, Mode};
use redb::{Database, ReadableTable as _, TableDefinition};

use crate::{all, has_peers, peer, peer_in, soon};

/// When others were last told of each key of our own, in the database.
const ANNOUNCED: TableDefinition<'_, &[u8], u64> = TableDefinition::new("kad_announced");

fn client() -> Config {
    Config {
        mode: Mode::Client,
        ..Config::default()
    }
}

#[tokio::test]
async fn no_more_values_of_others_are_kept_than_may_be() {
    let keeper = peer(Config {
        max_records: 2,
        ..Config::default()
    })
    .await;
    let mut giver = peer(client()).await;
    giver.knows(&keeper);
    let (keeper, giver) = (keeper.run(), giver.run());
    has_peers(&giver, 1).await;
    for key in 0..6_u8 {
        // That nobody takes the last ones is what is to be seen.
        let _ = soon(giver.put(vec![key], b"value".to_vec())).await;
    }
    assert_eq!(keeper.status().await.unwrap().records, 2);
}

#[tokio::test]
async fn no_more_providers_are_kept_for_others_than_may_be() {
    let keeper = peer(Config {
        max_providers: 3,
        ..Config::default()
    })
    .await;
    let mut giver = peer(client()).await;
    giver.knows(&keeper);
    let (keeper, giver) = (keeper.run(), giver.run());
    has_peers(&giver, 1).await;
    for key in 0..9_u8 {
        soon(giver.provide(vec![key])).await.unwrap();
    }
    // It asks nobody, for it knows only a client: what it answers, it has.
    let mut kept = 0;
    for key in 0..9_u8 {
        kept += all(keeper.providers(vec![key]).await.unwrap()).await.len();
    }
    assert_eq!(kept, 3);
}

#[tokio::test]
async fn a_lookup_beyond_those_that_may_run_waits_for_another_to_end() {
    // Nobody listens there, so that lookups wait for their dials.
    let silent = peer(Config::default()).await;
    for (parallel_queries, running) in [(1, 1), (2, 2)] {
        let mut asker = peer(Config {
            parallel_queries,
            ..Config::default()
        })
        .await;
        asker.knows(&silent);
        let kad = asker.run();
        let first = kad.providers(b"first".to_vec()).await.unwrap();
        let second = kad.providers(b"second".to_vec()).await.unwrap();
        // Each answer is one more turn, in which one that has a place begins.
        for _ in 0..100 {
            assert!(kad.status().await.unwrap().queries <= running);
        }
        assert_eq!(kad.status().await.unwrap().queries, running);
        drop(first);
        soon(async { while kad.status().await.unwrap().queries != 1 {} }).await;
        drop(second);
        soon(async { while kad.status().await.unwrap().queries > 0 {} }).await;
    }
}

#[tokio::test]
async fn a_lookup_that_gets_nowhere_ends_when_its_time_is_over() {
    let silent = peer(Config::default()).await;
    let mut soon_over = peer(Config {
        query_timeout: cardume_units::Duration::from_secs(1),
        ..Config::default()
    })
    .await;
    let mut usual = peer(Config::default()).await;
    soon_over.knows(&silent);
    usual.knows(&silent);
    let (soon_over, usual) = (soon_over.run(), usual.run());
    tokio::select! {
        biased;
        got = usual.get(b"key".to_vec()) => panic!("it has time left: {got:?}"),
        got = soon_over.get(b"key".to_vec()) => assert!(matches!(got, Err(KadError::TimedOut)), "{got:?}"),
    }
}

#[tokio::test]
async fn what_was_announced_an_interval_ago_is_announced_again() {
    const KEYS: u8 = 64;
    let often = || Config {
        provider_interval: cardume_units::Duration::from_secs(60),
        ..Config::default()
    };
    let keeper = peer(Config::default()).await;
    let mut giver = peer(often()).await;
    giver.knows(&keeper);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let _keeper = keeper.run();
    let (kad, ended) = giver.run_until(stopped);
    has_peers(&kad, 1).await;
    for key in 0..KEYS {
        soon(kad.provide(vec![key])).await.unwrap();
    }
    stop.send(()).unwrap();
    let dir = soon(ended).await.unwrap();

    // As if it had been half an hour ago: long for this interval, and nothing for the usual one.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let before = since - Duration::from_secs(1800);
    let database = Database::open(dir.path().join("db")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(ANNOUNCED).unwrap();
        let keys: Vec<_> = table
            .iter()
            .unwrap()
            .map(|row| row.unwrap().0.value().to_vec())
            .collect();
        assert_eq!(keys.len(), usize::from(KEYS));
        for key in keys {
            table.insert(key.as_slice(), before.as_secs()).unwrap();
        }
    }
    transaction.commit().unwrap();
    drop(database);

    let again = peer_in(dir, often()).await.run();
    has_peers(&again, 1).await;
    for key in 0..KEYS {
        soon(again.provide(vec![key])).await.unwrap();
    }
    soon(async {
        while again.status().await.unwrap().announced == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
