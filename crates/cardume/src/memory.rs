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

/// Lets go of the parts of the program's file that only the start needed; what is used again comes back from the page
/// cache.
///
/// What was run or read once stays with a process until memory is short, so an idle node would seem to need all that its
/// start went through: some 20 MiB, of which it uses half a mebibyte a minute.
pub(crate) fn forget_start() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for part in mapped_parts() {
        let start = std::ptr::with_exposed_provenance_mut(part.start);
        #[expect(
            unsafe_code,
            reason = "a word to the kernel on memory, which has no safe form"
        )]
        // SAFETY: these are whole pages of the program's own file that nobody has written to or can, so whoever needs one
        // again gets the same bytes.
        let _ = unsafe { libc::madvise(start, part.len(), libc::MADV_DONTNEED) };
    }
}

/// Where the program's code and constants lie: what is mapped from its file, cannot be written to, and has not been, as
/// what the loader adjusts before it is made read-only has. See `proc_pid_smaps(5)`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn mapped_parts() -> Vec<std::ops::Range<usize>> {
    let (Ok(program), Ok(maps)) = (
        std::env::current_exe(),
        std::fs::read_to_string("/proc/self/smaps"),
    ) else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    let mut part = None;
    for line in maps.lines() {
        match line.split_once(' ') {
            Some(("Anonymous:", size)) if size.trim() == "0 kB" => parts.extend(part.take()),
            Some((name, _)) if name.ends_with(':') => {}
            _ => part = mapped_part(line, &program),
        }
    }
    parts
}

/// The addresses of a mapping, if it is one of `program`'s file that cannot be written to.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn mapped_part(line: &str, program: &std::path::Path) -> Option<std::ops::Range<usize>> {
    let mut words = line.split_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    if !matches!(rights, "r-xp" | "r--p") || !line.ends_with(program.to_str()?) {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_go_is_there_all_the_same() {
        static WRITTEN: std::sync::Mutex<u32> = std::sync::Mutex::new(1);
        *WRITTEN.lock().unwrap() = 2;
        let parts = mapped_parts();
        let has = |address: usize| parts.iter().any(|part| part.contains(&address));
        assert!(has(forget_start as *const () as usize), "code");
        assert!(has("a constant".as_ptr() as usize), "constants");
        assert!(!has(&raw const WRITTEN as usize), "what can be written to");
        forget_start();
        assert_eq!(mapped_parts(), parts);
        assert_eq!(*WRITTEN.lock().unwrap(), 2);
    }
}
