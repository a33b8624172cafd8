//! What a crowd of fetchers costs its source, and how long it takes: the real schedule in virtual time.
//!
//! `cargo run --release -p cardume-exchange --example crowd`, some minutes long
#![expect(clippy::print_stdout, reason = "a table for whoever runs it")]

#[path = "../tests/simulation/world.rs"]
mod world;

use std::time::{Duration, Instant};

use world::{Setting, run};

/// MiB, and how many fetch them.
const CROWDS: [(u64, usize); 7] = [
    (256, 1),
    (256, 4),
    (256, 16),
    (256, 64),
    (256, 256),
    (256, 1_000),
    (64, 10_000),
];

fn main() {
    println!("every node 100 Mbit/s each way, 20 ms there and back\n");
    println!("   MiB  fetchers  finished  source sent  first s  last s  x ideal  wasted  took s");
    let rate = 12_500_000;
    for (pieces, fetchers) in CROWDS {
        let ideal = (pieces << 20) as f64 / rate as f64;
        let began = Instant::now();
        let outcome = run(Setting {
            fetchers,
            sources: 1,
            liars: 0,
            silent: 0,
            pieces,
            rate,
            delay: Duration::from_millis(10),
            seed: 1,
        });
        println!(
            "{pieces:6}  {fetchers:8}  {:8}  {:10.2}x  {:7.1}  {:6.1}  {:7.2}  {:5.1}%  {:6.1}",
            outcome.finished,
            outcome.source_copies,
            outcome.first.as_secs_f64(),
            outcome.last.as_secs_f64(),
            outcome.last.as_secs_f64() / ideal,
            100.0 * outcome.wasted_copies / fetchers as f64,
            began.elapsed().as_secs_f64(),
        );
    }
}
