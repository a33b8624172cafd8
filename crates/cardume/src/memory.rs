//! How memory is asked of the system.

/// Keeps the C library to two arenas.
///
/// By default it makes eight for each core, each keeps what its threads once needed, and a node whose disk threads take
/// turns ends up with several times what it uses. To be called before there is a second thread.
pub(crate) fn keep_together() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "a setting of the C library, which has no safe form")]
        // SAFETY: it sets a number, and no other thread runs yet.
        let is_set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
        debug_assert_eq!(is_set, 1, "the C library knows the setting");
    }
}
