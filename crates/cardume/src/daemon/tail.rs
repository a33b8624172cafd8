//! The last lines of the log, kept in memory for callers of the API and for the page.
use std::{
    fmt::{self, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use cardume_node::{Log, LogLevel, LogLine};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use crate::text::clean;

/// Bytes of a message, and as many of its fields: a peer that has much to say would otherwise fill memory with it.
const MAX_LINE: usize = 1024;

/// Puts each event of the log into a [`Log`].
pub(super) struct Tail(pub(super) Log);

impl<S: Subscriber> Layer<S> for Tail {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        let about = event.metadata();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.put(LogLine {
            at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            level: level(*about.level()),
            target: about.target().to_owned(),
            text: words.line(),
        });
    }
}

fn level(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

/// What an event says: its message, then its fields.
#[derive(Default)]
struct Words {
    message: Cut,
    fields: Cut,
}

impl Words {
    fn line(self) -> String {
        let mut line = self.message;
        let _ = line.write_str(&self.fields.text);
        line.text
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // It fails where the line is full: the rest is left out.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// Text that takes no more than a line may have, and ends in `…` then.
#[derive(Default)]
struct Cut {
    text: String,
    is_full: bool,
}

impl fmt::Write for Cut {
    fn write_str(&mut self, all: &str) -> fmt::Result {
        if self.is_full {
            return Err(fmt::Error);
        }
        // What is beyond the bound is not even cleaned.
        let beginning = &all[..boundary(all, MAX_LINE)];
        let more = clean(beginning);
        let room = MAX_LINE.saturating_sub(self.text.len());
        if more.len() <= room && beginning.len() == all.len() {
            self.text.push_str(&more);
            return Ok(());
        }
        self.text.push_str(&more[..boundary(&more, room)]);
        self.text.push('…');
        self.is_full = true;
        Err(fmt::Error)
    }
}

/// The last place up to `at` where the text can be cut.
fn boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{Registry, layer::SubscriberExt as _};

    use super::*;

    #[test]
    fn a_line_has_its_message_then_its_fields_and_a_bound() {
        let log = Log::default();
        let subscriber = Registry::default().with(Tail(log.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "part", agent = %"a\u{1b}[2Jb", count = 3, "met {}", "somebody");
            tracing::info!(agent = "é".repeat(MAX_LINE), "met another");
        });
        let lines = log.last(2);
        assert_eq!(lines[0].text, "met somebody agent=a\\u{1b}[2Jb count=3");
        assert_eq!(
            (lines[0].level, lines[0].target.as_str()),
            (LogLevel::Warn, "part")
        );
        assert!(lines[1].text.starts_with("met another agent=\"éé") && lines[1].text.ends_with("é…"));
        assert!(lines[1].text.len() < 2 * MAX_LINE + 4);
    }
}
