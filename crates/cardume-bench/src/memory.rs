//! Free memory made sure of before a run.
//!
//! A virtual machine's free memory is not all there: its host gives a page when it is first touched, and may take it
//! back while it is free (free page reporting). Writing a file into such pages costs up to twenty times as much as
//! writing it into others, and whoever's turn it is pays. So what a run may need is touched before it begins.

use std::{fs, hint::black_box, path::Path};

/// Bytes below which a run's pages do not matter.
const BULK: u64 = 64 << 20;
/// Free memory that is left alone.
const LEFT: u64 = 512 << 20;
/// Where Linux says that its host takes free memory back.
const REPORTING: &str = "/sys/module/page_reporting";

/// Touches free memory for a run that writes so many bytes.
pub(crate) fn touch(bytes: u64) {
    if bytes < BULK {
        return;
    }
    // Twice, as files of the last run may not have been freed yet, and pages are not handed out in order.
    let wanted = bytes.saturating_mul(2).min(free().saturating_sub(LEFT));
    let pages = vec![1_u8; usize::try_from(wanted).unwrap_or(0)];
    drop(black_box(pages));
}

/// What to say to who measures on a host that takes memory back within seconds.
pub(crate) fn warning() -> Option<&'static str> {
    Path::new(REPORTING).exists().then_some(
        "NOTE: this machine gives free memory back to its host, and what touches it next pays: see docs/benchmarks.md",
    )
}

/// Bytes that nothing uses, the page cache included among what does; proc_meminfo(5).
fn free() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemFree:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
