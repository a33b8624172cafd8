//! Numbers of the process, under the names that every program has them.
use std::{fs, path::Path};

use super::Exposition;

/// Ticks of processor time in a second, as Linux tells them to programs on every architecture.
const TICKS: f64 = 100.0;

/// What the system says of this process.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    resident: Option<u64>,
    /// Resident memory that no file lies behind.
    anonymous: Option<u64>,
    cpu: Option<f64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

impl Process {
    /// Asks the system; reads nothing that waits for a disk.
    pub(super) fn now() -> Self {
        let this = Path::new("/proc/self");
        let read = |name: &str| fs::read_to_string(this.join(name)).unwrap_or_default();
        let status = read("status");
        Self {
            resident: kilobytes(&status, "VmRSS:"),
            anonymous: kilobytes(&status, "RssAnon:"),
            cpu: cpu(&read("stat")),
            // One of them is the one that lists them.
            open_fds: fs::read_dir(this.join("fd"))
                .ok()
                .map(|entries| (entries.count() as u64).saturating_sub(1)),
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        }
    }

    pub(super) fn tell(&self, text: &mut Exposition) {
        text.family(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory, mapped files included.",
        )
        .known(&[], self.resident);
        text.family(
            "memory_anonymous_bytes",
            "gauge",
            "Resident memory of this process alone, which connect.memory_ceiling is about.",
        )
        .known(&[], self.anonymous);
        text.family(
            "process_cpu_seconds_total",
            "counter",
            "Processor time of this process, user and system.",
        )
        .known(&[], self.cpu);
        text.family("process_open_fds", "gauge", "File descriptors that are open.")
            .known(&[], self.open_fds);
        text.family("process_max_fds", "gauge", "File descriptors that may be open.")
            .known(&[], self.max_fds);
    }
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// Of the fields behind the name, which may have anything in it, the 12th and 13th are user and system time.
fn cpu(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let status = "Name:\tx\nVmRSS:\t   28 kB\nRssAnon:\t     4 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(28 * 1024));
        assert_eq!(kilobytes(status, "RssAnon:"), Some(4096));
        assert_eq!(kilobytes(status, "RssFile:"), None);
        assert_eq!(cpu("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 51 0 0"), Some(2.01));
        assert_eq!(cpu("7 (a"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_tells_all_of_it() {
        let process = Process::now();
        assert!(
            process.resident >= process.anonymous && process.anonymous > Some(0),
            "{process:?}"
        );
        assert!(
            process.cpu.is_some() && process.max_fds > process.open_fds,
            "{process:?}"
        );
        assert!(process.open_fds > Some(0));
    }
}
