//! Shows how far an operation is, on stderr.
use std::time::{Duration, Instant};

use cardume_api::{Operation, Phase, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    out::{Out, Shown},
    text::{count, size},
};

/// Time between two lines of plain progress.
const PLAIN_INTERVAL: Duration = Duration::from_secs(2);

/// Shows one piece of work.
pub(crate) struct Display {
    out: Out,
    shown: Shown,
    bar: Option<ProgressBar>,
    last: Option<Instant>,
}

impl Display {
    pub(crate) fn new(out: &Out) -> Self {
        Self {
            out: out.clone(),
            shown: out.progress(),
            bar: None,
            last: None,
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
                self.out
                    .say(format!("{words}: {} of {total}", size(progress.done)));
            }
            return;
        }
        let bar = self.bar.get_or_insert_with(new_bar);
        bar.set_length(progress.size.max(progress.done).max(1));
        bar.set_position(progress.done);
        bar.set_message(words);
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.clear();
    }
}

fn new_bar() -> ProgressBar {
    const TEMPLATE: &str =
        "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left";
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(10));
    let style = ProgressStyle::with_template(TEMPLATE).expect("a literal template");
    bar.set_style(style.progress_chars("=> "));
    bar
}

fn words(progress: &Progress) -> String {
    match progress.phase {
        Phase::Waiting => "waiting for other downloads".into(),
        Phase::FindingPeers => "looking for peers".into(),
        Phase::Manifests => "reading directories".into(),
        Phase::Content if progress.sources.is_empty() => "transferring".into(),
        Phase::Content => format!("from {}", count(progress.sources.len() as u64, "peer")),
        Phase::Placing => "placing files".into(),
        Phase::Syncing => "waiting for the disk".into(),
        Phase::Hashing => "hashing".into(),
        _ => "working".into(),
    }
}
