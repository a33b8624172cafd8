//! The schedule against simulated peers, in virtual time.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use cardume_content::{PIECE, pieces::piece_count};
use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    window: 12,
    in_flight: 48,
};
const BLOB: BlobId = 1;

/// How a simulated peer behaves.
#[derive(Debug, Clone)]
struct Sim {
    delay: Duration,
    pieces: BTreeSet<u64>,
    /// Stops answering after so many pieces.
    silent_after: Option<u64>,
    /// Lies about this piece.
    lies: bool,
    busy_every: Option<u64>,
}

impl Sim {
    fn whole(count: u64, delay: u64) -> Self {
        Self {
            delay: Duration::from_millis(delay),
            pieces: (0..count).collect(),
            silent_after: None,
            lies: false,
            busy_every: None,
        }
    }
}

#[derive(Default)]
struct Outcome {
    got: BTreeMap<u64, PeerId>,
    /// How often each piece was asked for before everything had been.
    asked: HashMap<u64, u32>,
    early_repeats: u32,
    by_peer: BTreeMap<PeerId, u64>,
    elapsed: Duration,
}

fn peer(number: u8) -> PeerId {
    let key = libp2p_identity::Keypair::ed25519_from_bytes([number + 1; 32]).unwrap();
    key.public().to_peer_id()
}

fn set(count: u64, pieces: &BTreeSet<u64>) -> PieceSet {
    let mut set = PieceSet::empty(count);
    for piece in pieces {
        set.insert(*piece);
    }
    set
}

/// Runs a blob to its end, or for ten virtual minutes.
fn simulate(size: u64, sims: &[Sim], seed: u64) -> Outcome {
    let count = piece_count(size);
    let peers: BTreeMap<PeerId, Sim> = sims
        .iter()
        .enumerate()
        .map(|(n, sim)| (peer(n as u8), sim.clone()))
        .collect();
    let begun = Instant::now();
    let mut now = begun;
    let mut schedule = Schedule::new(peer(200), BOUNDS, seed);
    schedule.add_blob(BLOB, 0, false, now);
    for peer in peers.keys() {
        schedule.add_peer(*peer, now);
    }
    schedule.start_blob(BLOB, size, PieceSet::empty(count));
    let mut answers: BTreeMap<(Instant, Ticket), Order> = BTreeMap::new();
    let mut served: BTreeMap<PeerId, u64> = BTreeMap::new();
    let mut outcome = Outcome::default();
    let mut overdue_possible = false;
    while (outcome.got.len() as u64) < count && now < begun + Duration::from_secs(600) {
        schedule.expire(now);
        while let Some(order) = schedule.next(now) {
            let sim = &peers[&order.peer];
            if let Ask::Piece { piece, .. } = order.ask {
                let times = outcome.asked.entry(piece).or_default();
                *times += 1;
                if *times > 1 && (outcome.asked.len() as u64) < count && !overdue_possible {
                    outcome.early_repeats += 1;
                }
                let served = served.entry(order.peer).or_default();
                *served += 1;
                if sim.silent_after.is_some_and(|after| *served > after) {
                    overdue_possible = true;
                    continue;
                }
            }
            answers.insert((now + sim.delay, order.ticket), order);
        }
        let wake = schedule.wake(now).unwrap_or(now + Duration::from_secs(1));
        let next = answers
            .first_key_value()
            .map_or(wake, |((at, _), _)| (*at).min(wake));
        now = next.max(now + Duration::from_millis(1));
        while let Some(entry) = answers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let order = entry.remove();
            take(
                &mut schedule,
                &mut outcome,
                &peers[&order.peer],
                &order,
                count,
                size,
                now,
                &served,
            );
        }
    }
    outcome.elapsed = now - begun;
    outcome
}

#[expect(clippy::too_many_arguments, reason = "the state of one simulation")]
fn take(
    schedule: &mut Schedule,
    outcome: &mut Outcome,
    sim: &Sim,
    order: &Order,
    count: u64,
    size: u64,
    now: Instant,
    served: &BTreeMap<PeerId, u64>,
) {
    match order.ask {
        Ask::Have { .. } => {
            let pieces = set(count, &sim.pieces);
            assert!(schedule.on_have(order.ticket, now, size, 1, pieces));
        }
        Ask::Piece { piece, .. } => {
            assert!(sim.pieces.contains(&piece), "asked for what it does not have");
            let served = served.get(&order.peer).copied().unwrap_or(0);
            if sim.busy_every.is_some_and(|every| served % every == 0) {
                schedule.on_refusal(order.ticket, now, Refusal::Busy(Duration::from_millis(100)));
                return;
            }
            schedule.on_content(order.ticket, now);
            if sim.lies {
                schedule.ban(order.peer);
                return;
            }
            schedule.end(order.ticket);
            schedule.verified(BLOB, piece);
            outcome.got.entry(piece).or_insert(order.peer);
            *outcome.by_peer.entry(order.peer).or_default() += 1;
        }
        Ask::Proof { .. } | Ask::Many { .. } => unreachable!("the size is known, and it is no tree"),
    }
}

#[test]
fn a_single_peer_brings_every_piece_once() {
    let outcome = simulate(40 * PIECE, &[Sim::whole(40, 20)], 1);
    assert_eq!(outcome.got.len(), 40);
    assert!(outcome.asked.values().all(|times| *times == 1));
}

#[test]
fn equal_peers_share_the_work_equally() {
    let sims = vec![Sim::whole(400, 20); 4];
    let outcome = simulate(400 * PIECE, &sims, 2);
    assert_eq!(outcome.got.len(), 400);
    assert!(
        outcome.by_peer.values().all(|pieces| *pieces > 80),
        "{:?}",
        outcome.by_peer
    );
}

#[test]
fn a_fast_peer_brings_more_than_a_slow_one() {
    let outcome = simulate(5000 * PIECE, &[Sim::whole(5000, 10), Sim::whole(5000, 500)], 3);
    let shares: Vec<u64> = (0..2)
        .map(|n| outcome.by_peer.get(&peer(n)).copied().unwrap_or(0))
        .collect();
    assert!(shares[0] > shares[1] * 4, "{shares:?}");
    assert!(shares[1] > 0);
}

#[test]
fn a_silent_peer_costs_little_time() {
    let good = vec![Sim::whole(400, 50); 2];
    let best = simulate(400 * PIECE, &good, 4).elapsed;
    let mut mixed = good;
    mixed.push(Sim {
        silent_after: Some(10),
        ..Sim::whole(400, 50)
    });
    mixed.push(Sim {
        silent_after: Some(0),
        ..Sim::whole(400, 50)
    });
    let outcome = simulate(400 * PIECE, &mixed, 4);
    assert_eq!(outcome.got.len(), 400);
    assert!(
        outcome.elapsed < best.mul_f64(1.3) + Duration::from_secs(1),
        "{:?} {best:?}",
        outcome.elapsed
    );
}

#[test]
fn a_liar_is_asked_no_more() {
    let liar = Sim {
        lies: true,
        ..Sim::whole(100, 5)
    };
    let outcome = simulate(100 * PIECE, &[liar, Sim::whole(100, 20)], 5);
    assert_eq!(outcome.got.len(), 100);
    assert!(!outcome.by_peer.contains_key(&peer(0)));
}

#[test]
fn the_rarest_piece_goes_first() {
    let now = Instant::now();
    let mut schedule = Schedule::new(peer(200), BOUNDS, 6);
    let size = 100 * PIECE;
    schedule.add_blob(BLOB, 0, false, now);
    schedule.add_peer(peer(0), now);
    schedule.add_peer(peer(1), now);
    schedule.start_blob(BLOB, size, PieceSet::empty(100));
    let mut others: BTreeSet<u64> = (0..100).collect();
    others.remove(&77);
    schedule.know(&peer(1), BLOB, now, size, 1, set(100, &others));
    others.insert(77);
    others.remove(&3);
    schedule.know(&peer(0), BLOB, now, size, 1, set(100, &others));
    let mut first = None;
    while let Some(order) = schedule.next(now) {
        if let Ask::Piece { piece, .. } = order.ask
            && order.peer == peer(0)
        {
            first = first.or(Some(piece));
        }
    }
    assert_eq!(first, Some(77));
}

#[test]
fn the_only_source_is_asked_for_what_no_other_fetcher_has_or_brings() {
    let now = Instant::now();
    let mut schedule = Schedule::new(peer(200), BOUNDS, 6);
    let size = 1000 * PIECE;
    schedule.add_blob(BLOB, 0, false, now);
    schedule.add_peer(peer(0), now);
    schedule.add_peer(peer(1), now);
    schedule.start_blob(BLOB, size, PieceSet::empty(1000));
    let theirs: BTreeSet<u64> = (0..500).collect();
    schedule.know(&peer(0), BLOB, now, size, 1, PieceSet::full(1000));
    schedule.know(&peer(1), BLOB, now, size, 1, set(1000, &theirs));
    let mut asked = BTreeSet::new();
    let mut later = now;
    for _ in 0..1000 {
        while let Some(order) = schedule.next(later) {
            let Ask::Piece { piece, .. } = order.ask else {
                continue;
            };
            schedule.on_content(order.ticket, later);
            schedule.end(order.ticket);
            schedule.verified(BLOB, piece);
            if order.peer == peer(0) {
                asked.insert(piece);
            }
        }
        later += Duration::from_micros(100);
    }
    assert!(asked.iter().all(|piece| !theirs.contains(piece)), "{asked:?}");
    // The other stands still, so all but its last piece is taken over.
    assert!((400..=500).contains(&asked.len()), "{}", asked.len());
    let before = later;
    while schedule.next(later).is_none() {
        later += Duration::from_millis(10);
    }
    assert!(
        later - before < Duration::from_secs(1),
        "the other's are not waited for long"
    );
}

#[test]
fn two_fetchers_choose_different_pieces() {
    let pick = |seed| {
        let now = Instant::now();
        let mut schedule = Schedule::new(peer(200), BOUNDS, seed);
        schedule.add_blob(BLOB, 0, false, now);
        schedule.add_peer(peer(0), now);
        schedule.start_blob(BLOB, 1000 * PIECE, PieceSet::empty(1000));
        schedule.know(&peer(0), BLOB, now, 1000 * PIECE, 1, PieceSet::full(1000));
        schedule.next(now).map(|order| order.ask)
    };
    assert_ne!(pick(1), pick(2));
}

#[test]
fn a_reader_gets_its_pieces_in_order_and_only_those() {
    let now = Instant::now();
    let mut schedule = Schedule::new(peer(200), BOUNDS, 7);
    schedule.add_blob(BLOB, 0, true, now);
    schedule.add_peer(peer(0), now);
    schedule.start_blob(BLOB, 100 * PIECE, PieceSet::empty(100));
    schedule.know(&peer(0), BLOB, now, 100 * PIECE, 1, PieceSet::full(100));
    schedule.focus(BLOB, 40..42);
    let mut asked = Vec::new();
    while let Some(order) = schedule.next(now) {
        if let Ask::Piece { piece, .. } = order.ask {
            asked.push(piece);
        }
    }
    assert_eq!(asked, [40, 41]);
}

#[test]
fn a_size_is_asked_for_once_and_those_who_claimed_another_are_named() {
    let now = Instant::now();
    let mut schedule = Schedule::new(peer(200), BOUNDS, 8);
    schedule.add_blob(BLOB, 0, false, now);
    for number in 0..3 {
        schedule.add_peer(peer(number), now);
        let size = if number == 2 { 7 * PIECE } else { 5 * PIECE };
        schedule.know(
            &peer(number),
            BLOB,
            now,
            size,
            1,
            PieceSet::full(piece_count(size)),
        );
    }
    let mut asked = Vec::new();
    while let Some(order) = schedule.next(now) {
        if let Ask::Proof { size, .. } = order.ask {
            asked.push(size);
        }
    }
    asked.sort_unstable();
    assert_eq!(asked, [5 * PIECE, 7 * PIECE]);
    assert_eq!(
        schedule.start_blob(BLOB, 5 * PIECE, PieceSet::empty(5)),
        [peer(2)]
    );
    let late = PieceSet::full(9);
    assert!(
        !schedule.know(&peer(1), BLOB, now, 9 * PIECE, 1, late),
        "a size that is disproven"
    );
}

#[test]
fn what_a_reader_waits_for_comes_with_the_proof() {
    let proof = |focus, size: u64, held: &[u64]| {
        let now = Instant::now();
        let mut schedule = Schedule::new(peer(200), BOUNDS, 8);
        schedule.add_blob(BLOB, 0, true, now);
        schedule.focus(BLOB, focus);
        schedule.add_peer(peer(0), now);
        let mut pieces = PieceSet::empty(piece_count(size));
        held.iter().for_each(|piece| _ = pieces.insert(*piece));
        schedule.know(&peer(0), BLOB, now, size, 1, pieces);
        let mut orders = std::iter::from_fn(|| schedule.next(now));
        orders.find_map(|order| match order.ask {
            Ask::Proof { along, .. } => Some(along),
            _ => None,
        })
    };
    let all: Vec<u64> = (0..9).collect();
    assert_eq!(proof(3..19, 9 * PIECE, &all), Some(3..5));
    assert_eq!(proof(7..19, 9 * PIECE, &all), Some(7..8));
    assert!(
        proof(8..19, 9 * PIECE, &all).unwrap().is_empty(),
        "the proof is in it"
    );
    assert!(proof(9..19, 9 * PIECE, &all).unwrap().is_empty(), "after the end");
    assert!(
        proof(3..19, 9 * PIECE, &[3, 8]).unwrap().is_empty(),
        "it has one of two"
    );
    assert!(
        proof(0..16, PIECE, &[0]).unwrap().is_empty(),
        "the proof is all of it"
    );
}

#[test]
fn a_proof_that_does_not_come_is_soon_asked_of_another() {
    let now = Instant::now();
    let mut schedule = Schedule::new(peer(200), BOUNDS, 8);
    schedule.add_blob(BLOB, 0, false, now);
    for number in 0..2 {
        schedule.add_peer(peer(number), now);
        schedule.know(&peer(number), BLOB, now, 5 * PIECE, 1, PieceSet::full(5));
    }
    let mut proof = |now| {
        schedule.expire(now);
        let mut orders = std::iter::from_fn(|| schedule.next(now));
        let order = orders.find(|order| matches!(order.ask, Ask::Proof { .. }));
        order.map(|order| order.peer)
    };
    let first = proof(now).unwrap();
    assert_eq!(proof(now + Duration::from_millis(300)), None);
    let second = proof(now + Duration::from_millis(500)).unwrap();
    assert_ne!(first, second);
}

#[test]
fn small_blobs_go_out_in_full_requests_and_come_back_when_not_brought() {
    let now = Instant::now();
    let mut schedule = Schedule::new(peer(200), BOUNDS, 9);
    schedule.add_peer(peer(0), now);
    for item in 0..10_000 {
        schedule.add_item(item, 10 * 1024);
    }
    let mut requests = 0;
    let mut got = BTreeSet::new();
    while let Some(order) = schedule.next(now) {
        let Ask::Many { items } = &order.ask else { continue };
        requests += 1;
        schedule.on_content(order.ticket, now);
        // Half is brought each time.
        for item in &items[..items.len().div_ceil(2)] {
            assert!(schedule.item_verified(*item));
            assert!(got.insert(*item));
        }
        schedule.end_many(order.ticket, now, &[]);
    }
    assert_eq!(got.len(), 10_000);
    assert!((100..400).contains(&requests), "{requests}");
}

#[test]
fn what_one_peer_lacks_another_is_asked_for() {
    let now = Instant::now();
    let mut schedule = Schedule::new(peer(200), BOUNDS, 10);
    schedule.add_peer(peer(0), now);
    schedule.add_item(1, 100);
    let order = schedule.next(now).unwrap();
    schedule.on_content(order.ticket, now);
    schedule.end_many(order.ticket, now, &[1]);
    assert_eq!(schedule.next(now + Duration::from_secs(5)), None);
    schedule.add_peer(peer(1), now);
    assert!(schedule.next(now + Duration::from_secs(5)).is_some());
}

#[test]
fn a_window_grows_on_a_fast_path_and_shrinks_when_answers_only_queue() {
    let mut fast = Peer::new();
    for _ in 0..20 {
        let share = fast.sent();
        fast.settled(false);
        fast.answered(Duration::from_millis(5), share, 12);
    }
    assert!(fast.window(12) > 8, "{}", fast.window(12));
    let mut slow = Peer::new();
    for _ in 0..20 {
        slow.answered(Duration::from_secs(8), slow.window(12), 12);
        slow.answered(Duration::from_secs(4), 1, 12);
    }
    assert!(slow.window(12) <= 2, "{}", slow.window(12));
}

#[test]
fn the_window_of_a_schedule_is_that_of_its_peers_within_what_all_may_have() {
    let now = Instant::now();
    let mut schedule = Schedule::new(peer(200), BOUNDS, 10);
    assert_eq!(schedule.window(), 0, "there is nobody to ask");
    assert!((0..3).all(|number| schedule.add_peer(peer(number), now)));
    assert_eq!(
        schedule.window(),
        3 * 2,
        "two for each, until something is known of it"
    );
    schedule.limit(5);
    assert_eq!(schedule.window(), 5);
    schedule.drop_peer(&peer(0));
    assert_eq!(schedule.window(), 4);
}

fn sim(count: u64) -> impl Strategy<Value = Sim> {
    let pieces = proptest::collection::btree_set(0..count, 0..=count as usize);
    let silent = proptest::option::of(0..20u64);
    let busy = proptest::option::of(2..5u64);
    (pieces, 1..400u64, silent, any::<bool>(), busy).prop_map(
        |(pieces, delay, silent_after, lies, busy_every)| Sim {
            delay: Duration::from_millis(delay),
            pieces,
            silent_after,
            lies,
            busy_every,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn with_one_good_peer_everything_comes_and_nothing_is_asked_twice_for_nothing(
        sims in (1..60u64).prop_flat_map(|count| (Just(count), proptest::collection::vec(sim(count), 0..5))),
        delay in 1..300u64,
        seed in any::<u64>(),
    ) {
        let (count, mut sims) = sims;
        let troubled = sims.iter().any(|sim| sim.lies || sim.busy_every.is_some() || sim.silent_after.is_some());
        sims.push(Sim::whole(count, delay));
        let outcome = simulate(count * PIECE, &sims, seed);
        prop_assert_eq!(outcome.got.len() as u64, count);
        if !troubled {
            prop_assert_eq!(outcome.early_repeats, 0);
        }
    }
}
