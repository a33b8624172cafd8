//! What the service manager is told (`sd_notify(3)`).
use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use crate::config::Environment;

/// The service manager, if there is one.
#[derive(Debug)]
pub(super) struct Manager(Option<SocketAddr>);

impl Manager {
    /// The one that the environment names.
    pub(super) fn of(environment: &Environment) -> Self {
        let named = environment.get("NOTIFY_SOCKET").map(address).transpose();
        Self(named.unwrap_or_else(|error| {
            tracing::warn!(%error, "there is no service manager at $NOTIFY_SOCKET");
            None
        }))
    }

    /// That the daemon is ready.
    pub(super) fn ready(&self) {
        self.tell("READY=1\nSTATUS=running\n");
    }

    /// That it stops, once running work has ended.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=waiting for running work\n");
    }

    fn tell(&self, text: &str) {
        let Some(address) = &self.0 else { return };
        let send = || UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), address);
        if let Err(error) = send() {
            tracing::warn!(%error, "cannot tell the service manager");
        }
    }
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
        Manager::of(&environment).stopping();
    }
}
