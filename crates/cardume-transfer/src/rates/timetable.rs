//! Which schedule holds at an instant, and until when. Knows no clock: the time is passed in.
use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan, Zoned, civil::Date};

use super::config::Schedule;

/// What holds now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InForce<'a> {
    /// The schedule that holds: of several the first by name.
    pub(super) schedule: Option<&'a str>,
    /// When to look again: the next time that one of them begins or ends.
    pub(super) until: Option<Timestamp>,
}

/// Looks up what holds at `now`, in the time zone that comes with it.
///
/// A time that the clock leaps over when it is put forward is taken for as much later; of a time that comes
/// twice when it is put back, the first is meant.
pub(super) fn in_force<'a>(schedules: &'a BTreeMap<String, Schedule>, now: &Zoned) -> InForce<'a> {
    let mut holds = InForce {
        schedule: None,
        until: None,
    };
    for (name, schedule) in schedules {
        for (begin, end) in occasions(schedule, now) {
            if holds.schedule.is_none() && begin <= now.timestamp() && now.timestamp() < end {
                holds.schedule = Some(name);
            }
            for change in [begin, end] {
                if change > now.timestamp() {
                    holds.until = Some(holds.until.map_or(change, |until| until.min(change)));
                }
            }
        }
    }
    holds
}

/// When a schedule begins and ends, from yesterday to a week from now.
fn occasions(schedule: &Schedule, now: &Zoned) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let at = |date: Date, time| {
        let zoned = date.to_datetime(time).to_zoned(now.time_zone().clone());
        zoned.ok().map(|zoned| zoned.timestamp())
    };
    let crosses_midnight = schedule.to <= schedule.from;
    (-1..=8).filter_map(move |day| {
        let date = now.date().checked_add(day.days()).ok()?;
        let is_meant = schedule.days.is_empty() || schedule.days.iter().any(|day| day.is(date.weekday()));
        let last = if crosses_midnight {
            date.tomorrow().ok()?
        } else {
            date
        };
        is_meant.then_some((at(date, schedule.from)?, at(last, schedule.to)?))
    })
}

#[cfg(test)]
mod tests {
    use jiff::civil::{DateTime, time};

    use super::*;
    use crate::rates::{Changes, Day};

    fn schedule(days: &[Day], from: (i8, i8), to: (i8, i8)) -> Schedule {
        Schedule {
            days: days.to_vec(),
            from: time(from.0, from.1, 0, 0),
            to: time(to.0, to.1, 0, 0),
            upload: None,
            download: None,
            per_peer: None,
            lan: Changes::default(),
            wan: Changes::default(),
            relay: Changes::default(),
        }
    }

    fn table<const N: usize>(rows: [(&str, Schedule); N]) -> BTreeMap<String, Schedule> {
        rows.map(|(name, schedule)| (name.to_owned(), schedule)).into()
    }

    fn at(text: &str) -> Zoned {
        text.parse::<DateTime>().unwrap().in_tz("Europe/Lisbon").unwrap()
    }

    /// What holds at a local time, and the local time of the next change.
    fn look(table: &BTreeMap<String, Schedule>, now: &str) -> (Option<String>, Option<String>) {
        let now = at(now);
        let holds = in_force(table, &now);
        let until = holds
            .until
            .map(|until| until.to_zoned(now.time_zone().clone()).datetime().to_string());
        (holds.schedule.map(str::to_owned), until)
    }

    #[track_caller]
    fn assert_holds(table: &BTreeMap<String, Schedule>, now: &str, schedule: Option<&str>, until: &str) {
        let expected = (schedule.map(str::to_owned), Some(until.to_owned()));
        assert_eq!(look(table, now), expected, "at {now}");
    }

    const WORK: [Day; 5] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri];

    #[test]
    fn a_schedule_holds_from_its_first_minute_to_before_its_last() {
        let table = table([("work", schedule(&WORK, (8, 0), (18, 30)))]);
        // 2026-11-20 is a Friday.
        assert_holds(&table, "2026-11-20T07:59:59", None, "2026-11-20T08:00:00");
        assert_holds(&table, "2026-11-20T08:00:00", Some("work"), "2026-11-20T18:30:00");
        assert_holds(&table, "2026-11-20T18:29:59", Some("work"), "2026-11-20T18:30:00");
        assert_holds(&table, "2026-11-20T18:30:00", None, "2026-11-23T08:00:00");
        assert_holds(&table, "2026-11-21T12:00:00", None, "2026-11-23T08:00:00");
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        let table = table([("night", schedule(&[Day::Fri], (22, 0), (6, 0)))]);
        assert_holds(
            &table,
            "2026-11-20T23:00:00",
            Some("night"),
            "2026-11-21T06:00:00",
        );
        assert_holds(
            &table,
            "2026-11-21T05:59:00",
            Some("night"),
            "2026-11-21T06:00:00",
        );
        assert_holds(&table, "2026-11-20T05:00:00", None, "2026-11-20T22:00:00");
        assert_holds(&table, "2026-11-21T23:00:00", None, "2026-11-27T22:00:00");
    }

    #[test]
    fn from_and_to_alike_is_a_whole_day() {
        let table = table([("sunday", schedule(&[Day::Sun], (0, 0), (0, 0)))]);
        assert_holds(
            &table,
            "2026-11-22T00:00:00",
            Some("sunday"),
            "2026-11-23T00:00:00",
        );
        assert_holds(&table, "2026-11-23T00:00:00", None, "2026-11-29T00:00:00");
    }

    #[test]
    fn of_several_the_first_by_name_holds() {
        let table = table([
            ("b-day", schedule(&[], (6, 0), (22, 0))),
            ("a-lunch", schedule(&[], (12, 0), (13, 0))),
        ]);
        assert_holds(
            &table,
            "2026-11-20T11:00:00",
            Some("b-day"),
            "2026-11-20T12:00:00",
        );
        assert_holds(
            &table,
            "2026-11-20T12:00:00",
            Some("a-lunch"),
            "2026-11-20T13:00:00",
        );
        assert_holds(
            &table,
            "2026-11-20T13:00:00",
            Some("b-day"),
            "2026-11-20T22:00:00",
        );
    }

    #[test]
    fn a_night_is_an_hour_shorter_when_the_clock_is_put_forward_and_longer_when_put_back() {
        let table = table([("night", schedule(&[], (0, 30), (6, 0)))]);
        for (now, hours) in [
            ("2026-03-28T00:30:00", 330),
            ("2026-03-29T00:30:00", 270),
            ("2026-10-25T00:30:00", 390),
        ] {
            let now = at(now);
            let holds = in_force(&table, &now);
            assert_eq!(holds.schedule, Some("night"));
            let minutes = holds.until.unwrap().duration_since(now.timestamp()).as_secs() / 60;
            assert_eq!(minutes, hours, "{now}");
        }
    }

    #[test]
    fn a_time_the_clock_leaps_over_still_begins_a_schedule() {
        // In Lisbon 01:00 to 02:00 does not exist on 2026-03-29.
        let table = table([("early", schedule(&[], (1, 30), (3, 0)))]);
        assert_holds(&table, "2026-03-29T00:59:59", None, "2026-03-29T02:30:00");
        assert_holds(
            &table,
            "2026-03-29T02:30:00",
            Some("early"),
            "2026-03-29T03:00:00",
        );
    }

    #[test]
    fn without_schedules_nothing_ever_changes() {
        assert_eq!(look(&BTreeMap::new(), "2026-11-20T11:00:00"), (None, None));
    }
}
