//! Shows how far an operation is, on stderr.
use std::time::{Duration, Instant};

use cardume_api::{Operation, Phase, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    out::{Out, Shown},
    text::{count, size, span},
};

/// Time between two lines of plain progress.
const PLAIN_INTERVAL: Duration = Duration::from_secs(2);

/// Shows one piece of work.
pub(crate) struct Display {
    out: Out,
    shown: Shown,
    bar: Option<ProgressBar>,
    last: Option<Instant>,
    pace: Pace,
}

/// How fast it went between two lines of plain progress.
#[derive(Default)]
struct Pace {
    last: Option<(Instant, u64)>,
}

impl Pace {
    /// `, 12.0 MiB/s, 4.0 s left`; nothing where nothing is known yet.
    fn after(&mut self, progress: &Progress, now: Instant) -> String {
        let last = self.last.replace((now, progress.done));
        let Some((then, before)) = last.filter(|(_, before)| *before <= progress.done) else {
            return String::new();
        };
        let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
        let rate = (progress.done - before) as f64 / seconds;
        let rest = progress.size.saturating_sub(progress.done) as f64;
        let left = Duration::try_from_secs_f64(rest / rate)
            .ok()
            .filter(|_| rest > 0.0);
        let left = left
            .map(|left| format!(", {} left", span(left)))
            .unwrap_or_default();
        format!(", {}/s{left}", size(rate as u64))
    }
}

impl Display {
    pub(crate) fn new(out: &Out) -> Self {
        Self {
            out: out.clone(),
            shown: out.progress(),
            bar: None,
            last: None,
            pace: Pace::default(),
        }
    }

    /// Shows an operation.
    pub(crate) fn show(&mut self, operation: &Operation) {
        if operation.state.has_ended() {
            return self.clear();
        }
        match self.shown {
            Shown::Json => {
                if let Ok(text) = serde_json::to_string(operation) {
                    self.out.say(text);
                }
            }
            Shown::Bar | Shown::Plain => self.advance(&operation.progress),
            Shown::Nothing => {}
        }
    }

    /// Shows bytes that come or go without an operation.
    pub(crate) fn show_bytes(&mut self, done: u64, size: Option<u64>) {
        let progress = Progress {
            phase: Phase::Content,
            size: size.unwrap_or(0),
            done,
            ..Progress::default()
        };
        match self.shown {
            Shown::Json => {
                if let (true, Ok(text)) = (self.is_due(), serde_json::to_string(&progress)) {
                    self.out.say(text);
                }
            }
            Shown::Bar | Shown::Plain => self.advance(&progress),
            Shown::Nothing => {}
        }
    }

    /// Takes the bar away, so that what follows stands alone.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn is_due(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }

    fn advance(&mut self, progress: &Progress) {
        let words = words(progress);
        if self.shown == Shown::Plain {
            if self.is_due() {
                let total = if progress.size == 0 {
                    "?".to_owned()
                } else {
                    size(progress.size)
                };
                let pace = self.pace.after(progress, Instant::now());
                self.out
                    .say(format!("{words}: {} of {total}{pace}", size(progress.done)));
            }
            return;
        }
        let bar = self.bar.get_or_insert_with(new_bar);
        // Without a size there is nothing that could fill a bar.
        bar.set_style(style(if progress.size == 0 { BEGINNING } else { UNDER_WAY }));
        bar.set_message(words);
        bar.set_length(progress.size.max(progress.done).max(1));
        bar.set_position(progress.done);
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.clear();
    }
}

const BEGINNING: &str = "{msg} {binary_bytes}";
const UNDER_WAY: &str =
    "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left";

fn new_bar() -> ProgressBar {
    ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(10))
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("a literal template");
    style.progress_chars("=> ")
}

fn words(progress: &Progress) -> String {
    match progress.phase {
        Phase::Waiting => "waiting for other downloads".into(),
        Phase::FindingPeers if progress.elsewhere > 0 => "another node reads it from the web origin".into(),
        Phase::FindingPeers => "looking for peers".into(),
        Phase::Manifests => "reading directories".into(),
        Phase::Content => match (progress.sources.len() as u64, progress.origin) {
            (0, 0) => "transferring".into(),
            (0, _) => "from the web origin".into(),
            (peers, 0) => format!("from {}", count(peers, "peer")),
            (peers, _) => format!("from {} and the web origin", count(peers, "peer")),
        },
        Phase::Placing => "placing files".into(),
        Phase::Syncing => "waiting for the disk".into(),
        Phase::Hashing => "hashing".into(),
        Phase::Collecting => "deleting".into(),
        Phase::Measuring => "adding up".into(),
        _ => "working".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64) -> Progress {
        Progress {
            size: 100 << 20,
            done,
            ..Progress::default()
        }
    }

    #[test]
    fn plain_progress_tells_rate_and_time_left_once_they_are_known() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let mut at = |seconds: u64, done| pace.after(&progress(done), began + Duration::from_secs(seconds));
        assert_eq!(at(0, 0), "");
        assert_eq!(at(2, 20 << 20), ", 10.0 MiB/s, 8.0 s left");
        assert_eq!(at(4, 20 << 20), ", 0 B/s", "who knows how long nothing takes");
        assert_eq!(at(6, 100 << 20), ", 40.0 MiB/s");
        assert_eq!(at(8, 0), "", "it began anew");
    }
}
