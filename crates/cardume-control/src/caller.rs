//! Who asks, and what they may.
use std::{
    io,
    path::{Path, PathBuf},
};

use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cardume_api::Code;
use rustix::{fs::Access, io::Errno};
use tokio::net::UnixStream;

use crate::problem::{Refused, Result};

/// The user at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    uid: u32,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Root, and the node's own user.
    Admin,
    /// A member of the socket's group.
    Operator,
    /// Whom a looser file mode than ours has let in.
    Stranger,
}

impl Caller {
    /// Tells who connected. With `grouped`, who passed the mode of the socket is of its group.
    pub(crate) fn of(stream: &UnixStream, grouped: bool) -> io::Result<Self> {
        let uid = stream.peer_cred()?.uid();
        let role = if uid == 0 || uid == rustix::process::geteuid().as_raw() {
            Role::Admin
        } else if grouped {
            Role::Operator
        } else {
            tracing::warn!(
                uid,
                "refused a user at the control socket; control.group would admit a group"
            );
            Role::Stranger
        };
        Ok(Self { uid, role })
    }

    /// Whether the caller is root or the node's own user.
    pub(crate) fn is_admin(self) -> bool {
        self.role == Role::Admin
    }

    /// Refuses all but root and the node's own user.
    ///
    /// # Errors
    /// `denied`.
    pub(crate) fn check_admin(self) -> Result<()> {
        if self.is_admin() {
            return Ok(());
        }
        Err(Refused::denied("only root and the node's own user may do this"))
    }

    /// Refuses paths that the caller could not open itself. The node opens files with its own rights, so it
    /// takes paths from those who have these rights anyway, and to read also below `shares`. Others than admins are
    /// held to the share that is returned: what lies in between may be another's to change.
    ///
    /// # Errors
    /// `denied`, with what to do instead; `usage` when the path is relative.
    pub(crate) fn check_readable(self, path: &Path, shares: &[PathBuf]) -> Result<Option<PathBuf>> {
        check_absolute(path)?;
        if self.is_admin() {
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
            "user {} may not have the node read {}; hand the bytes over instead: cardume share --copy",
            self.uid,
            path.display(),
        )))
    }

    /// Refuses to write where the caller could not write itself.
    ///
    /// # Errors
    /// `denied`, with what to do instead; `usage` when the path is relative.
    pub(crate) fn check_writable(self, path: &Path) -> Result<()> {
        check_absolute(path)?;
        if self.is_admin() {
            let directory = path.parent().unwrap_or(path);
            let instead = "read the bytes from the socket instead, as cardume get does";
            return self.check_reached(directory, Access::WRITE_OK | Access::EXEC_OK, instead);
        }
        Err(Refused::denied(format!(
            "user {} may not have the node write {}; read the bytes from the socket instead, as cardume get does",
            self.uid,
            path.display(),
        )))
    }

    /// Refuses root what the node cannot do where root could: it may run as another user, and in a sandbox.
    ///
    /// What is not there, or wrong in another way, is told by whoever opens it.
    fn check_reached(self, path: &Path, access: Access, instead: &str) -> Result<()> {
        if self.uid != 0 || rustix::process::geteuid().is_root() {
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
        let caller = parts.extensions.get::<Self>().copied();
        caller.ok_or_else(|| Refused::new(Code::Failed, "the connection has no caller"))
    }
}

/// Lets neither strangers nor web pages in.
pub(crate) async fn gate(caller: Caller, request: Request, next: Next) -> Response {
    if caller.role == Role::Stranger {
        return Refused::denied(format!("user {} may not use this node", caller.uid)).into_response();
    }
    if comes_from_a_page(request.headers()) {
        return Refused::denied("web pages may not use this node").into_response();
    }
    next.run(request).await
}

/// Whether a browser sends this for a page. No page has business here, even where a proxy lets it through.
fn comes_from_a_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    headers.contains_key(header::ORIGIN) || !matches!(site, None | Some(b"none" | b"same-origin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Role) -> Caller {
        Caller { uid: 1234, role }
    }

    #[test]
    fn only_admins_hand_in_paths() {
        let path = Path::new("/etc/hostname");
        assert!(caller(Role::Admin).check_readable(path, &[]).is_ok());
        assert!(caller(Role::Admin).check_writable(path).is_ok());
        let Refused(read) = caller(Role::Operator).check_readable(path, &[]).unwrap_err();
        assert_eq!((read.status, read.code), (403, Code::Denied));
        assert!(read.detail.contains("--copy"), "{}", read.detail);
        assert!(caller(Role::Operator).check_writable(path).is_err());
    }

    #[test]
    fn a_relative_path_is_refused_even_of_admins() {
        let Refused(problem) = caller(Role::Admin)
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
        let readable = |path: &Path| caller(Role::Operator).check_readable(path, &shares).is_ok();
        assert!(readable(&share.join("a")));
        assert!(!readable(&share.join("../secret")));
        assert!(!readable(&share.join("link")));
        assert!(!readable(&share.join("missing")));
    }

    #[test]
    fn a_web_page_is_told_by_its_headers() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(
                header::HeaderName::from_static(name),
                header::HeaderValue::from_static(value),
            )])
        };
        assert!(comes_from_a_page(&headers("origin", "null")));
        assert!(comes_from_a_page(&headers("sec-fetch-site", "cross-site")));
        assert!(comes_from_a_page(&headers("sec-fetch-site", "same-site")));
        assert!(!comes_from_a_page(&headers("sec-fetch-site", "none")));
        assert!(!comes_from_a_page(&HeaderMap::new()));
    }
}
