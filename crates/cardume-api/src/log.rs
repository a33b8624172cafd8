//! The last lines of the node's log.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it was written, in milliseconds since 1970.
    pub at_ms: u64,
    /// How much it matters.
    pub level: LogLevel,
    /// The part of the program that wrote it.
    pub target: String,
    /// What it says, cut where it is long. Peers may have chosen some of it.
    pub text: String,
}

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogLevel {
    /// Something failed that should not.
    Error,
    /// Something may need a look.
    Warn,
    /// What the node does.
    Info,
    /// Why it does it.
    Debug,
    /// Each step of it.
    Trace,
    /// Something this program does not know.
    #[serde(other)]
    Other,
}

impl LogLevel {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
            Self::Other => "other",
        }
    }
}

/// What comes on the stream of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogEvent {
    /// A line was written.
    Line(LogLine),
    /// Lines were lost on the way: the reader was too slow or away for too long.
    Lost {
        /// How many; none when that is not known because the node has been started anew.
        count: Option<u64>,
    },
    /// Something this program does not know.
    #[serde(other)]
    Other,
}

impl LogEvent {
    /// The name of the event on the stream.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Line(_) => "line",
            Self::Lost { .. } => "lost",
            Self::Other => "other",
        }
    }
}
