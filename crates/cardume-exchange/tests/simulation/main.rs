//! Crowds of fetchers, with the real schedule, in virtual time.
mod world;

use std::time::Duration;

use self::world::{Outcome, Setting, run};

const SETTING: Setting = Setting {
    fetchers: 1,
    sources: 1,
    liars: 0,
    silent: 0,
    pieces: 96,
    rate: 25 << 20,
    delay: Duration::from_millis(2),
    seed: 1,
};

fn crowd(fetchers: usize) -> Outcome {
    let outcome = run(Setting { fetchers, ..SETTING });
    assert_eq!(outcome.finished, fetchers, "{outcome:?}");
    outcome
}

#[test]
fn a_source_sends_a_crowd_little_more_than_one_copy_and_all_finish_together() {
    let long = |fetchers| {
        let outcome = run(Setting {
            fetchers,
            pieces: 256,
            ..SETTING
        });
        assert_eq!(outcome.finished, fetchers, "{outcome:?}");
        outcome
    };
    let ideal = long(1).last;
    for fetchers in [4, 16] {
        let outcome = long(fetchers);
        assert!(outcome.source_copies < 1.25, "{fetchers}: {outcome:?}");
        assert!(
            outcome.last < outcome.first.mul_f64(1.3),
            "{fetchers}: {outcome:?}"
        );
        assert!(outcome.last < ideal.mul_f64(1.5), "{fetchers}: {outcome:?}");
        assert!(
            outcome.wasted_copies < 0.02 * fetchers as f64,
            "{fetchers}: {outcome:?}"
        );
    }
}

#[test]
fn a_larger_crowd_takes_little_longer() {
    let (few, many) = (crowd(8), crowd(64));
    assert!(many.last < few.last.mul_f64(2.5), "{few:?} {many:?}");
    assert!(many.source_copies < 1.25, "{many:?}");
}

#[test]
fn one_in_five_lying_or_silent_costs_half_as_much_again_at_most() {
    let honest = Setting {
        fetchers: 8,
        sources: 2,
        ..SETTING
    };
    let best = run(honest);
    for (liars, silent) in [(2, 0), (0, 2), (1, 1)] {
        let outcome = run(Setting {
            liars,
            silent,
            ..honest
        });
        assert_eq!(outcome.finished, 8, "{outcome:?}");
        assert!(outcome.last < best.last.mul_f64(1.5), "{best:?} {outcome:?}");
    }
}

#[test]
fn four_sources_are_faster_than_one() {
    let alone = crowd(1);
    let outcome = run(Setting {
        sources: 4,
        ..SETTING
    });
    assert!(outcome.last <= alone.last.mul_f64(1.05), "{outcome:?}");
}
