//! What the service manager says to this process alone.

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

/// Takes them out of what children inherit. To be called first of all, when there is one thread.
#[expect(unsafe_code, reason = "the environment can be changed in no other way")]
pub(crate) fn keep_from_children() {
    for name in OURS_ALONE {
        // SAFETY: `main` calls this before anything else, and so before any other thread could read the environment.
        unsafe { std::env::remove_var(name) };
    }
}
