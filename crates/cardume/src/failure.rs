//! How a command ends when it does not end well.
use std::io;

use cardume_api::{ClientError, Code, Problem};
use cardume_node::{BindError, ControlError, StartError};

use crate::{config::Mistakes, out::Out};

/// Exit statuses that have no [`Code`].
pub(crate) mod status {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const NO_DAEMON: u8 = 3;
    /// `config plan --exit-code`: something would change.
    pub(crate) const WOULD_CHANGE: u8 = 10;
    /// A defect of this program (`EX_SOFTWARE`).
    pub(crate) const DEFECT: u8 = 70;
    pub(crate) const BAD_CONFIG: u8 = 78;
    pub(crate) const INTERRUPTED: u8 = 130;
    pub(crate) const BROKEN_PIPE: u8 = 141;
    pub(crate) const TERMINATED: u8 = 143;
}

/// An end with a status of its own: what happened, where, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Ended {
    pub(crate) status: u8,
    pub(crate) message: String,
}

impl Ended {
    pub(crate) fn new(status: u8, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(crate) fn code(code: Code, message: impl Into<String>) -> Self {
        Self::new(code.exit_status(), message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::code(Code::Usage, message)
    }
}

/// Says what went wrong in one line, then why, and answers with the exit status.
pub(crate) fn report(error: &anyhow::Error, out: &Out) -> u8 {
    let status = exit_status(error);
    if status == status::BROKEN_PIPE {
        // Whoever read our data has had enough; there is nobody to tell.
        return status;
    }
    let mut said = error.to_string();
    out.error(&said);
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            out.say(format!("  caused by: {cause}"));
        }
        said = cause;
    }
    status
}

/// The exit status that an error stands for.
pub(crate) fn exit_status(error: &anyhow::Error) -> u8 {
    error.chain().find_map(status_of).unwrap_or(status::FAILED)
}

fn status_of(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(ended) = error.downcast_ref::<Ended>() {
        Some(ended.status)
    } else if let Some(error) = error.downcast_ref::<ClientError>() {
        Some(error.exit_status())
    } else if let Some(problem) = error.downcast_ref::<Problem>() {
        Some(problem.code.exit_status())
    } else if error.is::<Mistakes>() {
        Some(status::BAD_CONFIG)
    } else if let Some(error) = error.downcast_ref::<StartError>() {
        Some(start_status(error))
    } else {
        error.downcast_ref::<io::Error>().map(io_status)
    }
}

fn start_status(error: &StartError) -> u8 {
    match error {
        StartError::Config { .. } | StartError::Key(_) | StartError::Identity(_) | StartError::Deaf => {
            status::BAD_CONFIG
        }
        StartError::Locked { .. } => Code::Conflict.exit_status(),
        StartError::Control(error) => control_status(error),
        StartError::DataDir { source, .. } => place_status(source),
        StartError::Io { source, .. } => io_status(source),
        _ => status::FAILED,
    }
}

fn control_status(error: &ControlError) -> u8 {
    match error {
        ControlError::Listen(_) | ControlError::Group(_) => status::BAD_CONFIG,
        ControlError::Metrics { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            Code::Conflict.exit_status()
        }
        ControlError::Metrics { .. } => status::BAD_CONFIG,
        ControlError::Bind(BindError::InUse { .. }) => Code::Conflict.exit_status(),
        ControlError::Bind(BindError::Io { source, .. }) => place_status(source),
        // The rest is a place or a group that cannot work.
        ControlError::Bind(_) => status::BAD_CONFIG,
        _ => status::FAILED,
    }
}

/// The exit status for a configured place that fails: that it is full passes, all else is for the operator to change.
fn place_status(error: &io::Error) -> u8 {
    match io_status(error) {
        full if full == Code::NoSpace.exit_status() => full,
        _ => status::BAD_CONFIG,
    }
}

/// The exit status that a failure of the system stands for.
pub(crate) fn io_status(error: &io::Error) -> u8 {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::BrokenPipe => status::BROKEN_PIPE,
        Kind::NotFound => Code::NotFound.exit_status(),
        Kind::PermissionDenied => Code::Denied.exit_status(),
        Kind::AlreadyExists => Code::Conflict.exit_status(),
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Code::NoSpace.exit_status(),
        Kind::TimedOut => Code::Timeout.exit_status(),
        _ => status::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_exit_status_is_found_below_what_was_said_about_it() {
        let full: Result<(), io::Error> = Err(io::ErrorKind::StorageFull.into());
        assert_eq!(exit_status(&full.context("cannot write a").unwrap_err()), 9);
        let problem = Problem::new(Code::NotFound, "no provider");
        assert_eq!(exit_status(&ClientError::Problem(problem).into()), 4);
        assert_eq!(exit_status(&anyhow::anyhow!("no better word")), 1);
    }
}
