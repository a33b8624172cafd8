//! What it costs to decide whom to ask for which piece.
//!
//! One turn of a fetch: what is overdue is looked for, the next request chosen, its answer taken in, and when to look
//! again worked out. It should cost the same for any number of pieces and peers.

use std::time::{Duration, Instant};

use cardume_content::{PIECE, PieceSet};
use cardume_exchange::schedule::{Ask, Bounds, Schedule};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use libp2p_identity::PeerId;

const BLOB: u32 = 1;
const BOUNDS: Bounds = Bounds {
    window: 12,
    in_flight: 32,
};

/// A fetch of `pieces` from one source and others that have half of them each.
struct Fetch {
    schedule: Schedule,
    now: Instant,
    left: u64,
}

impl Fetch {
    fn new(pieces: u64, peers: u64) -> Self {
        let now = Instant::now();
        let mut schedule = Schedule::new(PeerId::random(), BOUNDS, 1);
        schedule.add_blob(BLOB, 1, false, now);
        let liars = schedule.start_blob(BLOB, pieces * PIECE, PieceSet::empty(pieces));
        assert!(liars.is_empty(), "nobody is known yet");
        for number in 0..peers {
            let peer = PeerId::random();
            let mut held = PieceSet::full(pieces);
            if number > 0 {
                held = PieceSet::empty(pieces);
                // Runs, as a set of single pieces would take minutes to make.
                let run = 64;
                (0..pieces)
                    .filter(|piece| (piece / run + number) % 2 == 0)
                    .for_each(|piece| {
                        held.insert(piece);
                    });
            }
            schedule.add_peer(peer, now);
            assert!(schedule.know(&peer, BLOB, now, pieces * PIECE, 1, held));
        }
        Self {
            schedule,
            now,
            left: pieces,
        }
    }

    /// Asks for one piece and gets it. What peers are asked about what they hold stays unanswered.
    fn turn(&mut self) {
        self.schedule.expire(self.now);
        while let Some(order) = self.schedule.next(self.now) {
            let Ask::Piece { piece, .. } = order.ask else {
                continue;
            };
            self.schedule
                .on_content(order.ticket, self.now + Duration::from_millis(2));
            self.schedule.verified(BLOB, piece);
            self.schedule.end(order.ticket);
            self.left -= 1;
            break;
        }
        self.schedule.wake(self.now);
        self.now += Duration::from_millis(1);
    }
}

fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for (pieces, peers) in [(1_000_000, 16), (10_000, 1_000), (1_000_000, 1_000)] {
        let id = BenchmarkId::new("a turn", format!("{pieces} pieces, {peers} peers"));
        let mut fetch = Fetch::new(pieces, peers);
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|count| {
                let mut took = Duration::ZERO;
                for _ in 0..count {
                    if fetch.left < 100 {
                        fetch = Fetch::new(pieces, peers);
                    }
                    let began = Instant::now();
                    fetch.turn();
                    took += began.elapsed();
                }
                took
            });
        });
    }
    group.finish();
}

criterion_group!(benches, turns);
criterion_main!(benches);
