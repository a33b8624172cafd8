//! The last lines of the node's log.
use reqwest::Method;

use super::{Client, ClientError, Feed};
use crate::{LogEvent, LogLine};

/// Lines of the log as they are written. A connection that is lost is made anew, and the stream goes on where it was; an
/// error is the last item.
pub type LogEvents = Feed<LogEvent>;

impl Client {
    /// So many of the last lines of the log, the oldest first; fewer, if the node keeps fewer.
    ///
    /// # Errors
    /// `denied` unless the caller is an operator.
    pub async fn log(&self, lines: usize) -> Result<Vec<LogLine>, ClientError> {
        let request = self.request(Method::GET, &["v1", "log"]);
        self.json(request.query(&[("lines", lines)])).await
    }

    /// Lines of the log as they are written, after so many of the last ones.
    ///
    /// # Errors
    /// As [`log`](Self::log).
    pub async fn follow_log(&self, lines: usize) -> Result<LogEvents, ClientError> {
        let query = vec![("lines", lines.to_string())];
        let lose = || LogEvent::Lost { count: None };
        Feed::open(self, &["v1", "log", "stream"], query, None, lose).await
    }
}
