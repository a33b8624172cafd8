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

/// Lets go of the program's code that only the start needed; what is used again comes back from the page cache.
///
/// Code that was run once stays with a process until memory is short, so an idle node would seem to need all that its
/// start went through: 18 MiB, of which it uses half a mebibyte a minute.
pub(crate) fn forget_start() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for code in mapped_code() {
        let start = std::ptr::with_exposed_provenance_mut(code.start);
        #[expect(
            unsafe_code,
            reason = "a word to the kernel on memory, which has no safe form"
        )]
        // SAFETY: these are whole pages of the program's own file that nobody can write to, so whoever needs one again
        // gets the same bytes.
        let _ = unsafe { libc::madvise(start, code.len(), libc::MADV_DONTNEED) };
    }
}

/// Where the program's code lies: what is mapped from its file to be run, and not to be written.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn mapped_code() -> Vec<std::ops::Range<usize>> {
    let (Ok(program), Ok(maps)) = (
        std::env::current_exe(),
        std::fs::read_to_string("/proc/self/maps"),
    ) else {
        return Vec::new();
    };
    let is_code = |line: &&str| {
        line.split_whitespace().nth(1) == Some("r-xp")
            && program.to_str().is_some_and(|path| line.ends_with(path))
    };
    let range = |line: &str| {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        Some(address(start)?..address(end)?)
    };
    maps.lines().filter(is_code).filter_map(range).collect()
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn code_that_was_let_go_runs_all_the_same() {
        let code = mapped_code();
        assert!(
            code.iter()
                .any(|code| code.contains(&(forget_start as *const () as usize)))
        );
        forget_start();
        assert_eq!(mapped_code(), code);
    }
}
