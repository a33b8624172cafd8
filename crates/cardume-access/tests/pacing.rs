//! Budgets handed out in virtual time.
use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use cardume_access::rates::{Class, Limits, Pacer, Rates};
use libp2p_identity::PeerId;
use proptest::prelude::*;

/// A line in virtual time: some peers who always want more, and a timer that is late.
struct Line {
    pacer: Pacer<usize>,
    start: Instant,
    now: Instant,
    /// How late each wake-up is, in turn.
    late: Vec<Duration>,
    peers: Vec<(PeerId, Class, usize)>,
    had: Vec<u64>,
}

fn rate(bytes: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(bytes)
}

fn all(bytes: u64) -> Rates {
    let upload = Limits {
        upload: rate(bytes),
        ..Limits::default()
    };
    Rates {
        all: upload,
        ..Rates::default()
    }
}

impl Line {
    /// Peers, each with its class and how many chunks it waits for at once.
    fn new(rates: Rates, peers: &[(Class, usize)]) -> Self {
        let start = Instant::now();
        Self {
            pacer: Pacer::new(rates.upload()),
            start,
            now: start,
            late: vec![Duration::from_micros(1_200), Duration::from_micros(300)],
            peers: peers
                .iter()
                .map(|(class, streams)| (PeerId::random(), *class, *streams))
                .collect(),
            had: vec![0; peers.len()],
        }
    }

    fn ask(&mut self, index: usize) {
        let (peer, class, _) = self.peers[index];
        let bytes = self.pacer.budgets().chunk(class);
        self.pacer.ask(peer, class, bytes, index, self.now);
    }

    fn begin(mut self) -> Self {
        for index in 0..self.peers.len() {
            for _ in 0..self.peers[index].2 {
                self.ask(index);
            }
        }
        self
    }

    /// Runs for a time; what each peer has had in it.
    fn run(&mut self, time: Duration) -> Vec<u64> {
        let (end, before) = (self.now + time, self.had.clone());
        let mut late = self.late.clone().into_iter().cycle();
        loop {
            while let Some(index) = self.pacer.grant(self.now, |_| true) {
                self.had[index] += self.pacer.budgets().chunk(self.peers[index].1);
                self.ask(index);
            }
            let next = self.pacer.next(self.now).expect("somebody always waits");
            self.now = next.max(self.now) + late.next().unwrap_or_default();
            if self.now > end {
                self.now = end;
                break;
            }
        }
        self.had
            .iter()
            .zip(before)
            .map(|(had, before)| had - before)
            .collect()
    }

    fn set(&mut self, rates: Rates) {
        self.pacer.set(rates.upload(), self.now);
    }
}

#[track_caller]
fn assert_close(bytes: u64, expected: u64, percent: u64) {
    let most = expected * percent / 100;
    assert!(
        bytes.abs_diff(expected) <= most,
        "{bytes} is not {expected} ± {percent} %"
    );
}

const TEN: Duration = Duration::from_secs(10);

#[test]
fn any_rate_is_kept_within_three_percent_over_ten_seconds() {
    for bytes in [16_000, 100_000, 1_000_000, 20_000_000, 125_000_000] {
        let had = Line::new(all(bytes), &[(Class::Wan, 3), (Class::Lan, 1)])
            .begin()
            .run(TEN);
        assert_close(had.iter().sum(), bytes * 10, 3);
    }
}

#[test]
fn no_tenth_of_a_second_has_more_than_its_share_and_a_burst() {
    let mut line = Line::new(all(20_000_000), &[(Class::Wan, 4)]).begin();
    line.run(Duration::from_secs(1));
    for _ in 0..100 {
        let had: u64 = line.run(Duration::from_millis(100)).iter().sum();
        assert_close(had, 2_000_000, 10);
    }
}

#[test]
fn a_timer_that_is_late_loses_nothing() {
    let mut line = Line::new(all(20_000_000), &[(Class::Wan, 4)]).begin();
    line.late = vec![Duration::from_millis(200), Duration::from_millis(7)];
    assert_close(line.run(TEN).iter().sum(), 200_000_000, 2);
}

#[test]
fn a_peer_with_many_requests_gets_no_more_than_one_with_one() {
    let peers = [(Class::Wan, 16), (Class::Wan, 1), (Class::Lan, 2)];
    let had = Line::new(all(3_000_000), &peers).begin().run(TEN);
    for bytes in had {
        assert_close(bytes, 10_000_000, 2);
    }
}

#[test]
fn what_one_peer_may_not_take_is_there_for_the_others() {
    let mut rates = all(10_000_000);
    rates.wan.per_peer = rate(1_000_000);
    let had = Line::new(rates, &[(Class::Wan, 4), (Class::Wan, 4), (Class::Lan, 4)])
        .begin()
        .run(TEN);
    assert_close(had[0], 10_000_000, 2);
    assert_close(had[1], 10_000_000, 2);
    assert_close(had[2], 80_000_000, 2);
}

#[test]
fn each_class_keeps_to_its_own_limit() {
    let mut rates = Rates::default();
    rates.wan.upload = rate(2_000_000);
    rates.relay.upload = rate(100_000);
    rates.lan.upload = rate(50_000_000);
    let classes = [
        (Class::Wan, 2),
        (Class::Wan, 2),
        (Class::Relay, 1),
        (Class::Lan, 1),
    ];
    let had = Line::new(rates, &classes).begin().run(TEN);
    assert_close(had[0] + had[1], 20_000_000, 2);
    assert_close(had[2], 1_000_000, 2);
    assert_close(had[3], 500_000_000, 2);
}

#[test]
fn a_change_counts_from_that_moment_on() {
    let mut line = Line::new(all(1_000_000), &[(Class::Wan, 4), (Class::Wan, 1)]).begin();
    assert_close(line.run(TEN).iter().sum(), 10_000_000, 2);
    line.set(all(20_000_000));
    assert_close(line.run(TEN).iter().sum(), 200_000_000, 2);
    line.set(all(100_000));
    // The chunks that already wait are still large; each is paid for.
    assert_close(line.run(TEN).iter().sum(), 1_000_000, 45);
    assert_close(line.run(TEN).iter().sum(), 1_000_000, 2);
}

#[test]
fn a_limit_that_goes_leaves_no_peer_waiting_for_those_it_held_back() {
    let mut rates = all(10_000_000);
    rates.wan.per_peer = rate(100_000);
    let mut line = Line::new(rates, &[(Class::Wan, 2), (Class::Lan, 2)]).begin();
    line.run(TEN);
    line.set(all(10_000_000));
    let had = line.run(Duration::from_secs(1));
    assert_close(had[1], 5_000_000, 15);
}

#[test]
fn whoever_has_gone_costs_nothing() {
    let now = Instant::now();
    let mut pacer = Pacer::new(all(1_000).upload());
    let peer = PeerId::random();
    for ticket in 0..1_000 {
        pacer.ask(peer, Class::Wan, 4_096, ticket, now);
    }
    assert_eq!(pacer.grant(now, |ticket| *ticket == 999), Some(999));
    assert_eq!(pacer.next(now), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_limit_is_ever_exceeded(
        total in 16_000_u64..100_000_000,
        per_peer in 16_000_u64..100_000_000,
        streams in proptest::collection::vec(1_usize..5, 1..6),
        late in proptest::collection::vec(0_u64..30, 1..5),
    ) {
        let mut rates = all(total);
        rates.all.per_peer = rate(per_peer);
        let peers: Vec<_> = streams.iter().map(|streams| (Class::Wan, *streams)).collect();
        let mut line = Line::new(rates, &peers).begin();
        line.late = late.into_iter().map(|ms| Duration::from_micros(100 + ms * 1_000)).collect();
        let had = line.run(Duration::from_secs(5));
        let seconds = line.now.duration_since(line.start).as_secs_f64() + 0.05;
        let chunk = line.pacer.budgets().chunk(Class::Wan);
        let most = |rate: u64| (rate as f64 * seconds) as u64 + chunk + 1;
        prop_assert!(had.iter().sum::<u64>() <= most(total));
        for bytes in &had {
            prop_assert!(*bytes <= most(per_peer));
        }
        let fair = total.min(per_peer * peers.len() as u64);
        prop_assert!(had.iter().sum::<u64>() * 100 >= fair * 5 * 95 - chunk * 100);
    }
}
