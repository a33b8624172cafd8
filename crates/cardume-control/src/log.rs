//! The last lines of the program's log, kept for callers.
use std::{fmt, sync::Arc};

use cardume_api::{LogEvent, LogLine};

use crate::events::{Events, Reader};

/// Lines kept. Each has a bound of its own, so that all are a few hundred KiB at most.
pub(crate) const KEPT: usize = 512;

/// The last lines of the program's log; cheap to clone, all clones are one log. Whoever sets up the log puts them in.
#[derive(Clone)]
pub struct Log(Arc<Events>);

impl Default for Log {
    fn default() -> Self {
        Self(Arc::new(Events::new(KEPT)))
    }
}

impl Log {
    /// Puts in a line, whose length whoever writes it bounds. Waits for nobody, and logs nothing.
    pub fn put(&self, line: LogLine) {
        let event = LogEvent::Line(line);
        let data = serde_json::to_string(&event).expect("a line is plain JSON");
        self.0.tell(event.name(), data.into());
    }

    /// The last `count` lines, the oldest first.
    pub fn last(&self, count: usize) -> Vec<LogLine> {
        let told = self.0.last(count);
        let lines = told.iter().filter_map(|data| match serde_json::from_str(data) {
            Ok(LogEvent::Line(line)) => Some(line),
            _ => None,
        });
        lines.collect()
    }

    /// Reads on after the line with the id `last`, or begins with the last `count`.
    pub(crate) fn reader(&self, last: Option<&str>, count: usize) -> Reader {
        match last {
            Some(last) => self.0.reader(Some(last)),
            None => self.0.reader_of_last(count),
        }
    }

    /// Ends what readers read, once they have read all there is.
    pub(crate) fn end(&self) {
        self.0.end();
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use cardume_api::LogLevel;

    use super::*;

    fn line(number: usize) -> LogLine {
        LogLine {
            at_ms: number as u64,
            level: LogLevel::Info,
            target: "test".into(),
            text: format!("line {number}"),
        }
    }

    #[tokio::test]
    async fn the_last_lines_are_kept_and_read_on_from() {
        let log = Log::default();
        (0..KEPT + 3).for_each(|number| log.put(line(number)));
        assert_eq!(log.last(2), [line(KEPT + 1), line(KEPT + 2)]);
        assert_eq!(log.last(usize::MAX).first(), Some(&line(3)));
        let mut reader = log.reader(None, 1);
        let first = reader.next().await.unwrap();
        assert!(first.data.contains(&line(KEPT + 2).text));
        log.put(line(0));
        let mut again = log.reader(Some(&first.id), 100);
        assert_eq!(again.next().await, reader.next().await);
        log.end();
        assert_eq!(again.next().await, None);
    }
}
