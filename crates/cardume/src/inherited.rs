//! What the service manager hands to this process alone.
use std::os::{
    fd::{FromRawFd, OwnedFd, RawFd},
    unix::net::UnixListener,
};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::config::Environment;

/// Variables with which systemd speaks to the process it starts. A program started by this one would answer in its
/// place: say that it is ready, or take its sockets.
const OURS_ALONE: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];
/// The first descriptor that is handed over (`sd_listen_fds(3)`).
const FIRST: RawFd = 3;

/// Takes them out of what children inherit. To be called first of all, when there is one thread.
#[expect(unsafe_code, reason = "the environment can be changed in no other way")]
pub(crate) fn keep_from_children() {
    for name in OURS_ALONE {
        // SAFETY: `main` calls this before anything else, and so before any other thread could read the environment.
        unsafe { std::env::remove_var(name) };
    }
}

/// The listening socket that the service manager calls `name`. To be called once: each name is given away.
#[expect(
    unsafe_code,
    reason = "a descriptor that was handed over is a number in the environment"
)]
pub(crate) fn socket(environment: &Environment, name: &str) -> Option<UnixListener> {
    let descriptor = descriptor(environment, std::process::id(), name)?;
    // SAFETY: the service manager says that this descriptor is open and this process's own. Nobody else takes it: it
    // is asked for once, and was open before anything here could open a file.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    if let Err(error) = fcntl_setfd(&socket, FdFlags::CLOEXEC) {
        tracing::warn!(%error, "children will inherit the control socket");
    }
    Some(socket.into())
}

/// Which descriptor has `name`, of those that are meant for the process `own`.
fn descriptor(environment: &Environment, own: u32, name: &str) -> Option<RawFd> {
    if environment.get("LISTEN_PID")?.parse() != Ok(own) {
        return None;
    }
    let count: usize = environment.get("LISTEN_FDS")?.parse().ok()?;
    let mut names = environment.get("LISTEN_FDNAMES")?.split(':').take(count);
    let index = names.position(|other| other == name)?;
    RawFd::try_from(index).ok()?.checked_add(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_by_its_name_when_it_is_meant_for_this_process() {
        let mut environment = Environment::default();
        assert_eq!(descriptor(&environment, 7, "control"), None);
        for (name, value) in [
            ("LISTEN_PID", "7"),
            ("LISTEN_FDS", "2"),
            ("LISTEN_FDNAMES", "other:control:third"),
        ] {
            environment.variables.insert(name.into(), value.into());
        }
        assert_eq!(descriptor(&environment, 7, "control"), Some(4));
        assert_eq!(descriptor(&environment, 7, "third"), None);
        assert_eq!(descriptor(&environment, 8, "control"), None);
        environment.variables.insert("LISTEN_FDS".into(), "many".into());
        assert_eq!(descriptor(&environment, 7, "control"), None);
    }
}
