//! Refuses connections while memory is short.
//!
//! Counts private memory only: a file that is mapped to be hashed is resident too, but the system takes
//! its pages back whenever it needs them. (libp2p's own limit counts such files, and reads `smaps`,
//! which takes milliseconds of the swarm's time.)
use std::{
    convert::Infallible,
    fs,
    time::{Duration, Instant},
};

use cardume_behaviour::Onlooker;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::{ConnectionDenied, ConnectionId};

/// How old a measurement may be; a crowd of connections costs one.
const FRESH: Duration = Duration::from_millis(100);

/// Why a connection was refused.
#[derive(Debug, thiserror::Error)]
#[error("{used} bytes of memory are in use, more than the {ceiling} allowed")]
pub(crate) struct Short {
    used: u64,
    ceiling: u64,
}

/// Measures memory when somebody wants a connection.
pub struct Memory {
    ceiling: u64,
    used: u64,
    measured: Option<Instant>,
    measure: fn() -> Option<u64>,
}

impl Memory {
    pub(crate) fn new(ceiling: u64) -> Self {
        Self {
            ceiling,
            used: 0,
            measured: None,
            measure: private_bytes,
        }
    }

    /// Has `ceiling` count from now on.
    pub(crate) fn set(&mut self, ceiling: u64) {
        self.ceiling = ceiling;
    }

    fn check(&mut self) -> Result<(), ConnectionDenied> {
        if self.measured.is_none_or(|at| at.elapsed() >= FRESH) {
            self.used = (self.measure)().unwrap_or(0);
            self.measured = Some(Instant::now());
        }
        if self.used > self.ceiling {
            let Self { used, ceiling, .. } = *self;
            return Err(ConnectionDenied::new(Short { used, ceiling }));
        }
        Ok(())
    }
}

/// Resident memory that belongs to this process alone; `None` where the system does not say.
fn private_bytes() -> Option<u64> {
    // One short line that the kernel keeps counted: reading it never waits for a disk.
    parse(
        &fs::read_to_string("/proc/self/statm").ok()?,
        rustix::param::page_size() as u64,
    )
}

/// Of the fields of `statm`, the second is resident and the third shared, in pages.
fn parse(statm: &str, page: u64) -> Option<u64> {
    let mut fields = statm.split_ascii_whitespace().skip(1);
    let resident: u64 = fields.next()?.parse().ok()?;
    let shared: u64 = fields.next()?.parse().ok()?;
    Some(resident.saturating_sub(shared).saturating_mul(page))
}

impl Onlooker for Memory {
    type Event = Infallible;

    fn on_pending_inbound(&mut self, _: ConnectionId, _: &Multiaddr) -> Result<(), ConnectionDenied> {
        self.check()
    }

    fn on_pending_outbound(&mut self, _: Option<PeerId>) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.check().map(|()| Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_refused_above_the_ceiling_only() {
        let mut memory = Memory::new(1000);
        memory.measure = || Some(1000);
        memory.check().unwrap();
        memory.measured = None;
        memory.measure = || Some(1001);
        memory.check().unwrap_err();
        memory.measured = None;
        memory.measure = || None;
        memory.check().unwrap();
    }

    #[test]
    fn memory_shared_with_files_is_not_counted() {
        assert_eq!(parse("9000 500 300 20 0 100 0\n", 4096), Some(200 * 4096));
        assert_eq!(parse("9000 500", 4096), None);
        assert_eq!(parse("", 4096), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_some_memory() {
        assert!(private_bytes().unwrap() > 0);
    }
}
