//! Failures of the node's parts as problem documents.
use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use cardume_api::{Code, Failure, Problem};
use cardume_channel::ChannelError;
use cardume_connect::{BlockError, ConnectError};
use cardume_content::manifest::ManifestError;
use cardume_exchange::FetchError;
use cardume_kad::KadError;
use cardume_store::{ImportError, ReadError, WriteError};

/// An answer that is no success.
#[derive(Debug, Clone)]
pub(crate) struct Refused(pub(crate) Problem);

pub(crate) type Result<T, E = Refused> = std::result::Result<T, E>;

impl Refused {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Problem::new(code, detail))
    }

    pub(crate) fn usage(detail: impl Into<String>) -> Self {
        Self::new(Code::Usage, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    pub(crate) fn denied(detail: impl Into<String>) -> Self {
        Self::new(Code::Denied, detail)
    }

    pub(crate) fn stopping() -> Self {
        Self::new(Code::Unavailable, "the node is stopping")
    }

    /// What axum's own extractors refuse.
    pub(crate) fn rejected(status: StatusCode, detail: String) -> Self {
        let (code, status) = match status {
            StatusCode::PAYLOAD_TOO_LARGE => (Code::Limit, status),
            StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::METHOD_NOT_ALLOWED => (Code::Usage, status),
            _ if status.is_server_error() => (Code::Failed, status),
            _ => (Code::Usage, StatusCode::BAD_REQUEST),
        };
        Self(Problem::new(code, detail).with_status(status.as_u16()))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).expect("a problem is plain JSON");
        (status, [(header::CONTENT_TYPE, Problem::MEDIA_TYPE)], body).into_response()
    }
}

impl From<Refused> for Failure {
    fn from(Refused(problem): Refused) -> Self {
        Self {
            code: problem.code,
            detail: problem.detail,
        }
    }
}

impl From<cardume_behaviour::Closed> for Refused {
    fn from(_: cardume_behaviour::Closed) -> Self {
        Self::stopping()
    }
}

impl From<BlockError> for Refused {
    fn from(error: BlockError) -> Self {
        let code = match &error {
            BlockError::Closed(_) => Code::Unavailable,
            BlockError::Full => Code::Limit,
            BlockError::Io { source, .. } => io_code(source),
            _ => Code::Failed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<FetchError> for Refused {
    fn from(error: FetchError) -> Self {
        let code = match &error {
            FetchError::NotFound { .. } | FetchError::Gone { .. } | FetchError::NoSuchPath { .. } => {
                Code::NotFound
            }
            FetchError::Exists { .. } => Code::Conflict,
            FetchError::NoSpace { .. } | FetchError::NoRoom(_) => Code::NoSpace,
            FetchError::Limit(_) => Code::Limit,
            FetchError::Denied(_) | FetchError::Refused(_) => Code::Denied,
            FetchError::Corrupt | FetchError::Origin { is_wrong: true, .. } => Code::Corrupt,
            FetchError::Origin { .. } => Code::NotFound,
            FetchError::Cancelled => Code::Cancelled,
            FetchError::Closed => Code::Unavailable,
            _ => Code::Failed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ReadError> for Refused {
    fn from(error: ReadError) -> Self {
        let code = match &error {
            ReadError::NotFound | ReadError::NotHeld(_) => Code::NotFound,
            ReadError::Changed { .. } => Code::Corrupt,
            ReadError::NotDirectory => Code::Usage,
            ReadError::Cancelled => Code::Cancelled,
            _ => Code::Failed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<WriteError> for Refused {
    fn from(error: WriteError) -> Self {
        Self::new(write_code(&error), error.to_string())
    }
}

fn write_code(error: &WriteError) -> Code {
    match error {
        WriteError::NoSpace { .. } | WriteError::Quota { .. } | WriteError::Floor { .. } => Code::NoSpace,
        WriteError::ReadOnly { .. } => Code::Unavailable,
        WriteError::Slice(_) => Code::Corrupt,
        WriteError::Io { source, .. } => io_code(source),
        _ => Code::Failed,
    }
}

fn io_code(error: &std::io::Error) -> Code {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::PermissionDenied => Code::Denied,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::NoSpace,
        _ => Code::Failed,
    }
}

impl From<ImportError> for Refused {
    fn from(error: ImportError) -> Self {
        let code = match &error {
            ImportError::Unsupported { .. } => Code::Usage,
            ImportError::Changed { .. } => Code::Conflict,
            ImportError::Manifest(error) => manifest_code(error),
            ImportError::Write(error) => write_code(error),
            ImportError::Io { source, .. } => io_code(source),
            ImportError::Cancelled => Code::Cancelled,
            _ => Code::Failed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ManifestError> for Refused {
    fn from(error: ManifestError) -> Self {
        Self::new(manifest_code(&error), error.to_string())
    }
}

const fn manifest_code(error: &ManifestError) -> Code {
    match error {
        ManifestError::Limit { .. } => Code::Limit,
        _ => Code::Usage,
    }
}

impl From<ChannelError> for Refused {
    fn from(error: ChannelError) -> Self {
        let code = match error {
            ChannelError::Kad(error) => return error.into(),
            ChannelError::Name(_) | ChannelError::Note(_) => Code::Usage,
            ChannelError::Exists(_) => Code::Conflict,
            ChannelError::Unknown(_) | ChannelError::NotFound(_) => Code::NotFound,
            ChannelError::Full | ChannelError::Exhausted => Code::Limit,
            _ => Code::Failed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<KadError> for Refused {
    fn from(error: KadError) -> Self {
        let code = match &error {
            KadError::Closed(_) => {
                return Self::new(
                    Code::Unavailable,
                    "the node takes no part in the DHT (kad.enabled)",
                );
            }
            KadError::NoPeers => Code::Unavailable,
            KadError::NotFound => Code::NotFound,
            KadError::Outdated => Code::Conflict,
            KadError::TimedOut => Code::Timeout,
            KadError::Refused(_) => Code::Limit,
            _ => Code::Failed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ConnectError> for Refused {
    fn from(error: ConnectError) -> Self {
        let code = match &error {
            ConnectError::Closed(_) => return Self::stopping(),
            ConnectError::NoAddress(_) | ConnectError::Failed(_) => Code::NotFound,
            ConnectError::TurnedAway(_) => Code::Unavailable,
            ConnectError::Denied(_) | ConnectError::WrongPeer { .. } => Code::Denied,
            _ => Code::Failed,
        };
        Self::new(code, error.to_string())
    }
}
