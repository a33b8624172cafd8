//! What was measured, and the table of it.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::watch::Used;

const MIB: f64 = (1u64 << 20) as f64;

/// One run of one contestant.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// The workload, as on the command line.
    pub workload: String,
    /// Who did it.
    pub contestant: String,
    /// Which round; all contestants take part in each.
    pub round: usize,
    /// The figures.
    #[serde(flatten)]
    pub measured: Measured,
}

/// The figures of one run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Measured {
    /// Bytes of content, once for each fetcher.
    pub bytes: u64,
    /// From the beginning until the last was done.
    pub seconds: f64,
    /// Until the first was done, where several did the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<f64>,
    /// What the giving side used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Used>,
    /// What the fetching side used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetcher: Option<Used>,
    /// Bytes the source sent for each byte of content that one fetcher needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<f64>,
    /// Share of the line's rate that was content, from the beginning to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<f64>,
    /// Share of the limit at which content came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// How long a peer took to answer a ping meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping: Option<Waits>,
    /// How long messages took from one node's caller to another's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Waits>,
    /// Share of the messages that did not come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unheard: Option<f64>,
    /// How long the source's daemon took to say how it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Waits>,
}

/// How long answers took, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Waits {
    /// The median.
    pub median: f64,
    /// The one of a hundred that took longest.
    pub p99: f64,
}

impl Waits {
    /// Of so many answers; `None` of none.
    pub fn of(mut seconds: Vec<f64>) -> Option<Self> {
        seconds.sort_by(f64::total_cmp);
        let last = seconds.len().checked_sub(1)?;
        Some(Self {
            median: seconds[last / 2],
            p99: seconds[last * 99 / 100],
        })
    }
}

impl Measured {
    fn mib(&self) -> Option<f64> {
        (self.bytes > 0).then(|| self.bytes as f64 / MIB)
    }

    /// Seconds on the processor for each GiB that was moved.
    fn cpu(&self, side: Option<Used>) -> Option<f64> {
        Some(side?.cpu / (self.mib()? / 1024.0))
    }

    /// A figure that says something only where nothing was moved.
    fn idle(&self, value: f64) -> Option<f64> {
        (self.bytes == 0).then_some(value)
    }
}

type Column = (&'static str, usize, fn(&Measured) -> Option<f64>);

/// Columns that are medians of one number, with its digits; left out where nobody has it.
const COLUMNS: &[Column] = &[
    ("\nMiB/s", 0, |run| Some(run.mib()? / run.seconds)),
    ("of the\nline", 2, |run| run.line),
    ("of the\nlimit", 3, |run| run.limit),
    ("delivery\nms median", 2, |run| Some(run.delivery?.median * 1e3)),
    ("\np99", 2, |run| Some(run.delivery?.p99 * 1e3)),
    ("share\nlost", 6, |run| run.unheard),
    ("ping ms\nmedian", 2, |run| Some(run.ping?.median * 1e3)),
    ("\np99", 2, |run| Some(run.ping?.p99 * 1e3)),
    ("API ms\nmedian", 2, |run| Some(run.api?.median * 1e3)),
    ("\np99", 2, |run| Some(run.api?.p99 * 1e3)),
    ("last ÷\nfirst", 2, |run| Some(run.seconds / run.first?)),
    ("source\nsent ×", 2, |run| run.sent),
    ("CPU s/GiB\nsource", 2, |run| run.cpu(run.source)),
    ("\nfetcher", 2, |run| run.cpu(run.fetcher)),
    ("\nboth", 2, |run| {
        Some(run.cpu(run.source)? + run.cpu(run.fetcher)?)
    }),
    ("CPU s\nsource", 2, |run| run.idle(run.source?.cpu)),
    ("\nfetcher", 2, |run| run.idle(run.fetcher?.cpu)),
    ("anon MiB\nsource", 0, |run| {
        Some(run.source?.anonymous as f64 / MIB)
    }),
    ("anon MiB\nfetcher", 0, |run| {
        Some(run.fetcher?.anonymous as f64 / MIB)
    }),
    ("resident\nsource", 0, |run| {
        run.idle(run.source?.resident as f64 / MIB)
    }),
    ("\nfetcher", 0, |run| run.idle(run.fetcher?.resident as f64 / MIB)),
];

/// The table of one workload: a line for each contestant, in the order of their first runs.
///
/// Ratios are medians over the rounds of one contestant's time by that of `yardstick` in the same round, so that
/// what slows a whole round down cancels out.
pub fn table(samples: &[Sample], yardstick: &str) -> String {
    let mut contestants: Vec<&str> = Vec::new();
    for sample in samples {
        if !contestants.contains(&sample.contestant.as_str()) {
            contestants.push(&sample.contestant);
        }
    }
    let of = |name: &str| -> Vec<&Sample> {
        samples
            .iter()
            .filter(|sample| sample.contestant == name)
            .collect()
    };
    let reference = of(yardstick);
    let columns: Vec<&Column> = COLUMNS
        .iter()
        .filter(|(_, _, value)| {
            samples
                .iter()
                .any(|sample| value(&sample.measured).is_some_and(f64::is_finite))
        })
        .collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let ratio = format!("time ÷\n{yardstick}");
    let mut head = vec!["", "\nseconds", "\n(min–max)"];
    head.extend((!reference.is_empty()).then_some(ratio.as_str()));
    head.extend(columns.iter().map(|(name, ..)| *name));
    table.set_header(head);
    for name in contestants {
        let runs = of(name);
        let times = runs.iter().map(|run| run.measured.seconds);
        let Some((least, median, most)) = spread(times) else {
            continue;
        };
        let mut line = vec![
            name.to_owned(),
            number(median),
            format!("({}–{})", number(least), number(most)),
        ];
        if !reference.is_empty() {
            line.push(ratio_to(&runs, &reference));
        }
        for (_, digits, value) in &columns {
            let values = runs.iter().filter_map(|run| value(&run.measured));
            line.push(spread(values).map_or_else(String::new, |(_, median, _)| format!("{median:.digits$}")));
        }
        table.add_row(line);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn ratio_to(runs: &[&Sample], reference: &[&Sample]) -> String {
    let pairs = runs.iter().filter_map(|run| {
        let other = reference.iter().find(|other| other.round == run.round)?;
        Some(run.measured.seconds / other.measured.seconds)
    });
    spread(pairs).map_or_else(String::new, |(_, median, _)| format!("{median:.2}"))
}

/// Least, median and most; the mean of the two in the middle where there is no middle.
fn spread(values: impl Iterator<Item = f64>) -> Option<(f64, f64, f64)> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    let middle = (values.len() - 1) / 2;
    let median = f64::midpoint(values[middle], values[values.len() / 2]);
    Some((least, median, most))
}

/// Seconds with three digits that mean something.
fn number(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{s:.4}"),
        s if s < 10.0 => format!("{s:.2}"),
        s => format!("{s:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(contestant: &str, round: usize, seconds: f64) -> Sample {
        Sample {
            workload: "w1".into(),
            contestant: contestant.into(),
            round,
            measured: Measured {
                bytes: 1 << 30,
                seconds,
                ..Measured::default()
            },
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_and_not_of_the_medians() {
        let samples = [
            sample("a", 1, 2.0),
            sample("b", 1, 1.0),
            sample("a", 2, 30.0),
            sample("b", 2, 10.0),
            sample("a", 3, 3.0),
            sample("b", 3, 2.0),
        ];
        let text = table(&samples, "b");
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with("a "))
            .unwrap();
        assert!(line.contains("3.00") && line.contains("(2.00–30.0)"), "{text}");
        assert!(line.contains(" 2.00 ") && line.contains("341"), "{text}");
    }

    #[test]
    fn waits_are_told_by_the_one_in_the_middle_and_the_worst_of_a_hundred() {
        let seconds = (1..=200).rev().map(f64::from).collect();
        let waits = Waits::of(seconds).unwrap();
        assert_eq!((waits.median, waits.p99), (100.0, 198.0));
        assert_eq!(Waits::of(Vec::new()), None);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(spread([4.0, 1.0, 2.0, 3.0].into_iter()), Some((1.0, 2.5, 4.0)));
        assert_eq!(spread(std::iter::empty()), None);
    }
}
