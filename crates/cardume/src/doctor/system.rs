//! What the system gives the node: a clock, open files, buffers.
use std::{
    fs,
    os::{fd::AsFd as _, unix::net::UnixStream},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cardume_api::client::Address;
use rustix::process::{Resource, getrlimit};

use super::{Finding, Patient};
use crate::text::{size, span};

/// When this program was written: no true clock is before that. 1 January 2026.
const WRITTEN: Duration = Duration::from_secs(1_767_225_600);

/// What clocks may differ by.
const TOLERANCE: Duration = Duration::from_secs(120);

/// Open files beside connections: database, shares, fetches.
const OTHER_FILES: u64 = 256;

/// Bytes of a UDP socket's buffer that QUIC wants at a gigabit a second.
const UDP_BUFFER: u64 = 2 << 20;

pub(super) fn look(patient: &Patient) -> Vec<Finding> {
    vec![clock(&patient.data_dir), files(patient), udp_buffers()]
}

/// Compares the clock with what cannot be after it, and with the machine's other clock where there is one.
fn clock(data_dir: &Path) -> Finding {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let remedy = "set the clock, and keep it right with chrony, ntpd or systemd-timesyncd";
    if now < WRITTEN {
        let what = format!(
            "the clock is wrong: it says {}, before this program was written",
            day(now)
        );
        return Finding::wrong("clock", what, remedy);
    }
    if let Some((path, written)) = newest(data_dir)
        && written > now + TOLERANCE
    {
        let late = span(written - now);
        let what = format!("the clock is wrong: it is {late} behind the time at which {path} was written");
        return Finding::wrong("clock", what, remedy);
    }
    let hardware = fs::read_to_string("/sys/class/rtc/rtc0/since_epoch").ok();
    if let Some(hardware) = hardware.and_then(|text| text.trim().parse().ok().map(Duration::from_secs)) {
        let apart = now.abs_diff(hardware);
        // A hardware clock may be kept in local time: whole quarters of an hour apart.
        let odd = apart.as_secs() % 900;
        if apart > TOLERANCE && (apart.as_secs() > 15 * 3600 || (odd > 120 && odd < 780)) {
            let what = format!("the clock is {} away from the hardware clock", span(apart));
            return Finding::wrong("clock", what, remedy);
        }
    }
    Finding::ok(
        "clock",
        format!("{}, later than everything the node has written", day(now)),
    )
}

/// The file of the node that was written last.
fn newest(data_dir: &Path) -> Option<(String, Duration)> {
    let here = fs::read_dir(data_dir).ok()?;
    let below = fs::read_dir(data_dir.join("store")).into_iter().flatten();
    let files = here.chain(below).flatten().take(4096);
    let written = files.filter_map(|entry| {
        let at = entry.metadata().ok()?.modified().ok()?;
        Some((
            entry.path().display().to_string(),
            at.duration_since(UNIX_EPOCH).ok()?,
        ))
    });
    written.max_by_key(|(_, at)| *at)
}

/// The date of a time since 1970.
fn day(since: Duration) -> String {
    // Days since 0000-03-01, in eras of 400 years.
    let days = since.as_secs() / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (year, month + 3)
    } else {
        (year + 1, month - 9)
    };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year)
}

fn files(patient: &Patient) -> Finding {
    let need = u64::from(patient.config.connect.max_connections) + OTHER_FILES;
    let process = patient.daemon.as_ref().and_then(|daemon| daemon.process);
    let (limit, open) = match process {
        Some(process) => (limit_of(process), open_of(process)),
        // A daemon raises its limit as far as it may.
        None => (getrlimit(Resource::Nofile).maximum, None),
    };
    let limit = limit.unwrap_or(u64::MAX);
    let open = open
        .map(|open| format!(", {open} of them open"))
        .unwrap_or_default();
    if limit < need {
        let what = format!(
            "too few file descriptors: {limit} may be open{open}, and {} connections need {need}",
            patient.config.connect.max_connections
        );
        let remedy =
            "raise LimitNOFILE= of the service (or `ulimit -Hn`) to 65536, or lower connect.max_connections";
        return Finding::wrong("files", what, remedy);
    }
    let limit = if limit == u64::MAX {
        "any number of".into()
    } else {
        limit.to_string()
    };
    Finding::ok("files", format!("{limit} file descriptors may be open{open}"))
}

fn limit_of(process: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn open_of(process: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{process}/fd")).ok()?.count())
}

fn udp_buffers() -> Finding {
    let read = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limits = ["/proc/sys/net/core/rmem_max", "/proc/sys/net/core/wmem_max"].map(read);
    let [Some(receive), Some(send)] = limits else {
        return Finding::note("udp buffers", "their limits cannot be told");
    };
    let what = format!("at most {} to receive, {} to send", size(receive), size(send));
    if receive.min(send) < UDP_BUFFER {
        let much = UDP_BUFFER;
        let hint =
            format!("{what}; for fast QUIC: sysctl -w net.core.rmem_max={much} net.core.wmem_max={much}");
        return Finding::note("udp buffers", hint);
    }
    Finding::ok("udp buffers", what)
}

/// The process at the other end of the control socket.
pub(super) fn other_end(address: &Address) -> Option<u32> {
    let Address::Unix(path) = address else {
        return None;
    };
    let socket = UnixStream::connect(path).ok()?;
    let credentials = rustix::net::sockopt::socket_peercred(socket.as_fd()).ok()?;
    u32::try_from(credentials.pid.as_raw_nonzero().get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_told_by_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (WRITTEN.as_secs(), "2026-01-01"),
        ] {
            assert_eq!(day(Duration::from_secs(seconds)), date);
        }
    }

    #[test]
    fn a_clock_behind_what_was_written_is_wrong() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(clock(directory.path()).state, super::super::State::Ok);
        let file = fs::File::create(directory.path().join("peers")).expect("a file");
        file.set_modified(SystemTime::now() + Duration::from_secs(86_400))
            .expect("a time");
        let found = clock(directory.path());
        assert_eq!(found.state, super::super::State::Wrong);
        assert!(found.what.contains("behind"), "{found:?}");
    }
}
