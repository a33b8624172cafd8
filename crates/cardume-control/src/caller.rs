//! Who asks, and what they may.
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{extract::FromRequestParts, http::request::Parts};
use cardume_api::Code;
use rustix::{fs::Access, io::Errno};
use tokio::net::UnixStream;

use crate::{
    problem::{Refused, Result},
    rights::{Right, Rights},
    sessions::{Bearer, Current},
    tokens::Known,
};

/// Whoever makes a call, and what they may, however they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    who: Who,
    rights: Rights,
    way: Way,
}

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// The user of this machine with this number.
    User(u32),
    /// Whoever has the secret of the token of this name.
    Token(Arc<str>),
}

/// How somebody came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By the socket: the system says who it is.
    Socket,
    /// With a token.
    Token,
    /// From a browser that is logged in.
    Browser,
}

impl Who {
    pub(crate) fn is_token(&self, name: &str) -> bool {
        matches!(self, Self::Token(own) if **own == *name)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::Token(name) => write!(f, "token {name}"),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.who.fmt(f)?;
        match self.way {
            Way::Browser => f.write_str(" in a browser"),
            Way::Socket | Way::Token => Ok(()),
        }
    }
}

impl From<Known> for Caller {
    fn from(known: Known) -> Self {
        Self {
            who: Who::Token(known.name),
            rights: known.rights,
            way: Way::Token,
        }
    }
}

impl From<Current> for Caller {
    fn from(session: Current) -> Self {
        Self {
            who: session.bearer.who,
            rights: session.bearer.rights,
            way: Way::Browser,
        }
    }
}

impl Caller {
    /// Tells who connected to the socket. With `grouped`, who passed its mode is of its group.
    pub(crate) fn of(stream: &UnixStream, grouped: bool) -> io::Result<Self> {
        let uid = stream.peer_cred()?.uid();
        let rights = if uid == 0 || uid == rustix::process::geteuid().as_raw() {
            Rights::ADMIN
        } else if grouped {
            Rights::OPERATOR
        } else {
            tracing::warn!(
                uid,
                "refused a user at the control socket; control.group would admit a group"
            );
            Rights::NONE
        };
        Ok(Self {
            who: Who::User(uid),
            rights,
            way: Way::Socket,
        })
    }

    /// Whether the caller has connected to the socket and is root or the node's own user.
    pub(crate) fn is_owner(&self) -> bool {
        self.way == Way::Socket && self.rights.has(Right::Admin)
    }

    /// As whom a browser of this caller's may be logged in.
    ///
    /// # Errors
    /// `denied` unless the caller is on this machine.
    pub(crate) fn bearer(&self) -> Result<Bearer> {
        if self.way != Way::Socket {
            return Err(Refused::denied(
                "only users of the node's machine open the page, by its socket",
            ));
        }
        Ok(Bearer {
            who: self.who.clone(),
            rights: self.rights,
        })
    }

    /// Refuses whoever does not have a right.
    ///
    /// # Errors
    /// `denied`, with what it takes.
    pub(crate) fn check(&self, right: Right) -> Result<()> {
        if self.rights.has(right) {
            return Ok(());
        }
        let scope = right.scope().as_str();
        Err(Refused::denied(match (&self.who, self.rights == Rights::NONE) {
            (Who::User(uid), true) => format!("user {uid} may not use this node"),
            (Who::User(_), false) => "only root and the node's own user may do this".to_owned(),
            (who @ Who::Token(_), _) => format!("this takes the scope {scope}, which {who} does not have"),
        }))
    }

    /// Refuses paths that the caller could not open itself. The node opens files with its own rights, so it
    /// takes paths from those who have these rights anyway, and have shown so at the socket, and to read also below `shares`. Others than admins are
    /// held to the share that is returned: what lies in between may be another's to change.
    ///
    /// # Errors
    /// `denied`, with what to do instead; `usage` when the path is relative.
    pub(crate) fn check_readable(&self, path: &Path, shares: &[PathBuf]) -> Result<Option<PathBuf>> {
        check_absolute(path)?;
        if self.is_owner() {
            self.check_reached(
                path,
                Access::READ_OK,
                "hand the bytes over instead: cardume share --copy",
            )?;
            return Ok(None);
        }
        if let Some(share) = share_above(path, shares) {
            return Ok(Some(share));
        }
        Err(Refused::denied(format!(
            "{} may not have the node read {}; hand the bytes over instead: cardume share --copy",
            self.who,
            path.display(),
        )))
    }

    /// Refuses to write where the caller could not write itself.
    ///
    /// # Errors
    /// `denied`, with what to do instead; `usage` when the path is relative.
    pub(crate) fn check_writable(&self, path: &Path) -> Result<()> {
        check_absolute(path)?;
        if self.is_owner() {
            let directory = path.parent().unwrap_or(path);
            let instead = "read the bytes from the socket instead, as cardume get does";
            return self.check_reached(directory, Access::WRITE_OK | Access::EXEC_OK, instead);
        }
        Err(Refused::denied(format!(
            "{} may not have the node write {}; read the bytes from the API instead, as cardume get does",
            self.who,
            path.display(),
        )))
    }

    /// Refuses root what the node cannot do where root could: it may run as another user, and in a sandbox.
    ///
    /// What is not there, or wrong in another way, is told by whoever opens it.
    fn check_reached(&self, path: &Path, access: Access, instead: &str) -> Result<()> {
        if self.who != Who::User(0) || rustix::process::geteuid().is_root() {
            return Ok(());
        }
        match rustix::fs::access(path, access) {
            Err(error @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) => Err(Refused::denied(format!(
                "the node's own user does not get to {} ({}); {instead}",
                path.display(),
                io::Error::from(error),
            ))),
            _ => Ok(()),
        }
    }
}

fn check_absolute(path: &Path) -> Result<()> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(Refused::usage(format!(
        "{} is relative; the node takes absolute paths",
        path.display()
    )))
}

/// The one of `shares` that `path` lies below when every link is followed.
fn share_above(path: &Path, shares: &[PathBuf]) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    shares
        .iter()
        .filter_map(|share| share.canonicalize().ok())
        .find(|share| path.starts_with(share))
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Refused::new(Code::Failed, "the connection has no caller"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(rights: Rights) -> Caller {
        Caller {
            who: Who::User(1234),
            rights,
            way: Way::Socket,
        }
    }

    #[test]
    fn a_token_of_an_administrator_hands_in_no_paths() {
        let token = Caller::from(Known {
            name: "ci".into(),
            rights: Rights::ADMIN,
            left: None,
            ended: tokio_util::sync::CancellationToken::new(),
        });
        let path = Path::new("/etc/hostname");
        assert!(token.check(Right::Admin).is_ok() && !token.is_owner());
        assert!(token.check_readable(path, &[]).is_err());
        let Refused(write) = token.check_writable(path).unwrap_err();
        assert!(write.detail.starts_with("token ci may not"), "{}", write.detail);
        assert!(token.bearer().is_err());
    }

    #[test]
    fn only_admins_hand_in_paths() {
        let path = Path::new("/etc/hostname");
        assert!(caller(Rights::ADMIN).check_readable(path, &[]).is_ok());
        assert!(caller(Rights::ADMIN).check_writable(path).is_ok());
        let Refused(read) = caller(Rights::OPERATOR).check_readable(path, &[]).unwrap_err();
        assert_eq!((read.status, read.code), (403, Code::Denied));
        assert!(read.detail.contains("--copy"), "{}", read.detail);
        assert!(caller(Rights::OPERATOR).check_writable(path).is_err());
    }

    #[test]
    fn a_relative_path_is_refused_even_of_admins() {
        let Refused(problem) = caller(Rights::ADMIN)
            .check_readable(Path::new("a/b"), &[])
            .unwrap_err();
        assert_eq!(problem.code, Code::Usage);
    }

    #[test]
    fn operators_read_below_configured_shares_but_do_not_climb_out() {
        let directory = tempfile::tempdir().unwrap();
        let share = directory.path().join("share");
        std::fs::create_dir(&share).unwrap();
        std::fs::write(share.join("a"), "a").unwrap();
        std::fs::write(directory.path().join("secret"), "b").unwrap();
        std::os::unix::fs::symlink("../secret", share.join("link")).unwrap();
        let shares = [share.clone()];
        let readable = |path: &Path| caller(Rights::OPERATOR).check_readable(path, &shares).is_ok();
        assert!(readable(&share.join("a")));
        assert!(!readable(&share.join("../secret")));
        assert!(!readable(&share.join("link")));
        assert!(!readable(&share.join("missing")));
    }
}
