//! What went wrong, for programs (RFC 9457).
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong: a problem document as of RFC 9457, with a stable [`Code`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// A URI for the kind of problem: `urn:cardume:problem:` and the code.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The kind of problem in a few words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what to do about it.
    #[serde(default)]
    pub detail: String,
    /// The kind of problem, for programs.
    #[serde(default)]
    pub code: Code,
}

impl Problem {
    /// Media type of a problem document.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// Describes a problem of the kind `code`.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:cardume:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.http_status(),
            detail: detail.into(),
            code,
        }
    }

    /// The same problem with another HTTP status than its code's own.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

/// The kind of a problem. Its text is stable; the command line's exit status comes from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// The request makes no sense.
    Usage,
    /// No provider has it, or nothing has that name.
    NotFound,
    /// The caller may not do this, or a peer refuses.
    Denied,
    /// It took too long; trying again may help.
    Timeout,
    /// Bytes did not verify.
    Corrupt,
    /// Something is there already, or in use.
    Conflict,
    /// The disk or the quota has no room.
    NoSpace,
    /// More than a configured limit allows.
    Limit,
    /// The node cannot do this now: it is starting, stopping, or built without it.
    Unavailable,
    /// Somebody cancelled it.
    Cancelled,
    /// There are mistakes in the configuration.
    BadConfig,
    /// No better word; also what a newer daemon's unknown codes are read as.
    #[default]
    #[serde(other)]
    Failed,
}

impl Code {
    /// The stable text of the code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::Timeout => "timeout",
            Self::Corrupt => "corrupt",
            Self::Conflict => "conflict",
            Self::NoSpace => "no_space",
            Self::Limit => "limit",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
            Self::BadConfig => "bad_config",
            Self::Failed => "failed",
        }
    }

    /// The code in a few words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Usage => "The request makes no sense",
            Self::NotFound => "Not found",
            Self::Denied => "Not allowed",
            Self::Timeout => "Timed out",
            Self::Corrupt => "The bytes do not verify",
            Self::Conflict => "Conflict",
            Self::NoSpace => "No space",
            Self::Limit => "Over a limit",
            Self::Unavailable => "Not available now",
            Self::Cancelled => "Cancelled",
            Self::BadConfig => "Bad configuration",
            Self::Failed => "Failed",
        }
    }

    /// Exit status of a command that ends with this problem.
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Failed | Self::Cancelled => 1,
            Self::Usage => 2,
            Self::NotFound => 4,
            Self::Denied => 5,
            Self::Timeout | Self::Unavailable => 6,
            Self::Corrupt => 7,
            Self::Conflict => 8,
            Self::NoSpace | Self::Limit => 9,
            Self::BadConfig => 78,
        }
    }

    /// HTTP status that an answer of this kind has, unless a better one fits.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Failed => 500,
            Self::Usage => 400,
            Self::NotFound => 404,
            Self::Denied => 403,
            Self::Timeout => 504,
            Self::Unavailable => 503,
            Self::Corrupt => 502,
            Self::Conflict | Self::Cancelled => 409,
            Self::NoSpace => 507,
            Self::Limit => 429,
            Self::BadConfig => 422,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back_as_it_was_written() {
        for code in [
            Code::Usage,
            Code::NotFound,
            Code::NoSpace,
            Code::Failed,
            Code::Cancelled,
        ] {
            let text = serde_json::to_string(&code).unwrap();
            assert_eq!(text, format!("\"{}\"", code.as_str()));
            assert_eq!(serde_json::from_str::<Code>(&text).unwrap(), code);
        }
    }

    #[test]
    fn an_unknown_code_is_a_failure_without_a_better_word() {
        assert_eq!(
            serde_json::from_str::<Code>("\"from_the_future\"").unwrap(),
            Code::Failed
        );
    }

    #[test]
    fn a_problem_has_the_fields_of_the_rfc() {
        let value = serde_json::to_value(Problem::new(Code::Denied, "no")).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "type": "urn:cardume:problem:denied", "title": "Not allowed", "status": 403,
                "detail": "no", "code": "denied",
            })
        );
    }
}
