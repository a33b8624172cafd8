//! What the service manager is told (`sd_notify(3)`).
use std::{
    convert::Infallible,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use crate::config::Environment;

/// Between two requests for more time to start.
const AGAIN: Duration = Duration::from_secs(10);
/// What each of them asks for.
const MORE: Duration = Duration::from_secs(30);
/// How often it is asked for: a start that takes longer than an hour in all is stuck.
const ASKED: u32 = 360;
/// What a stop may take beyond the node's own grace: the store writes down what there is.
const SETTLING: Duration = Duration::from_secs(20);

/// The service manager, if there is one.
#[derive(Debug)]
pub(super) struct Manager {
    address: Option<SocketAddr>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that the environment names.
    pub(super) fn of(environment: &Environment) -> Self {
        let named = environment.get("NOTIFY_SOCKET").map(address).transpose();
        let address = named.unwrap_or_else(|error| {
            tracing::warn!(%error, "there is no service manager at $NOTIFY_SOCKET");
            None
        });
        let watchdog = watchdog(environment, std::process::id());
        Self { address, watchdog }
    }

    /// Whether there is one to talk to.
    pub(super) fn is_there(&self) -> bool {
        self.address.is_some()
    }

    /// The time without a [`turned`](Self::turned) after which it starts the daemon anew.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Asks for more time, as long as this is polled: a start may have much to read and to repair. Never ends.
    pub(super) async fn starting(&self) -> Infallible {
        for _ in 0..ASKED {
            let more = MORE.as_micros();
            self.tell(&format!("EXTEND_TIMEOUT_USEC={more}\nSTATUS=opening the store\n"));
            tokio::time::sleep(AGAIN).await;
        }
        std::future::pending().await
    }

    /// That the daemon is ready.
    pub(super) fn ready(&self) {
        self.tell("READY=1\nSTATUS=running\n");
    }

    /// That the daemon reads its configuration again; [`ready`](Self::ready) ends it.
    pub(super) fn reloading(&self) {
        // The manager tells by the time which of two reloads the word is about.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reading the configuration\n"
        ));
    }

    /// That the daemon still turns, and what it does.
    pub(super) fn turned(&self, status: &str) {
        self.tell(&format!("WATCHDOG=1\nSTATUS={status}\n"));
    }

    /// That it stops, once running work has ended or `grace` is over.
    pub(super) fn stopping(&self, grace: Duration) {
        let time = grace.saturating_add(SETTLING).as_micros();
        self.tell(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={time}\nSTATUS=waiting for running work\n"
        ));
    }

    fn tell(&self, text: &str) {
        let Some(address) = &self.address else { return };
        let send = || UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), address);
        if let Err(error) = send() {
            tracing::warn!(%error, "cannot tell the service manager");
        }
    }
}

/// The time that a watchdog set for the process `own` allows.
fn watchdog(environment: &Environment, own: u32) -> Option<Duration> {
    let meant = environment
        .get("WATCHDOG_PID")
        .is_none_or(|pid| pid.parse() == Ok(own));
    let allowed = environment.get("WATCHDOG_USEC")?.parse().ok()?;
    (meant && allowed > 0).then(|| Duration::from_micros(allowed))
}

/// A path, or a name in the abstract namespace after `@`.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, socket: &UnixDatagram) -> String {
        let mut environment = Environment::default();
        environment.variables.insert("NOTIFY_SOCKET".into(), name.into());
        Manager::of(&environment).ready();
        let mut text = [0; 64];
        let size = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..size].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        assert!(told(path.to_str().unwrap(), &socket).starts_with("READY=1\n"));
        let name = format!("cardume-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        assert!(told(&format!("@{name}"), &socket).starts_with("READY=1\n"));
    }

    #[test]
    fn a_manager_that_is_gone_stops_nothing() {
        Manager::of(&Environment::default()).ready();
        let mut environment = Environment::default();
        environment
            .variables
            .insert("NOTIFY_SOCKET".into(), "/no/such/socket".into());
        Manager::of(&environment).stopping(Duration::ZERO);
    }

    #[test]
    fn a_watchdog_is_ours_unless_it_names_another_process() {
        let of = |variables: &[(&str, &str)]| {
            let mut environment = Environment::default();
            for (name, value) in variables {
                environment.variables.insert((*name).into(), (*value).into());
            }
            watchdog(&environment, 7)
        };
        let allowed = ("WATCHDOG_USEC", "30000000");
        assert_eq!(of(&[allowed]), Some(Duration::from_secs(30)));
        assert_eq!(
            of(&[allowed, ("WATCHDOG_PID", "7")]),
            Some(Duration::from_secs(30))
        );
        for other in [
            &[allowed, ("WATCHDOG_PID", "8")][..],
            &[("WATCHDOG_USEC", "0")],
            &[],
        ] {
            assert_eq!(of(other), None);
        }
    }
}
