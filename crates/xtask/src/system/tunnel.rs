//! A service of one host that is used on the other, by daemons that see as little of their hosts as their unit allows.
use std::time::Instant;

use anyhow::ensure;

use super::{
    host::{Host, until},
    tell,
};

/// Says what it is told, at port 7777 of the loopback address.
const SERVICE: &str = "import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self): self.wfile.write(self.rfile.readline())
socketserver.TCPServer(('127.0.0.1', 7777), Echo).serve_forever()";
/// Says something to it, and prints what comes back.
const CLIENT: &str = "import socket, sys
host, port = sys.argv[1].rsplit(':', 1)
line = socket.create_connection((host, int(port)))
line.sendall(b'hello\\n')
print(line.makefile().readline())";

/// Has `den` expose a service, and `attic` use it.
pub(super) fn through(den: &Host, attic: &Host) -> anyhow::Result<()> {
    den.run(&["systemd-run", "--unit=echo", "python3", "-c", SERVICE])?;
    let [den_id, attic_id] = [den.run(&["cardume", "id"])?, attic.run(&["cardume", "id"])?];
    den.run(&[
        "cardume",
        "tunnel",
        "expose",
        "echo",
        "127.0.0.1:7777",
        "--allow",
        &attic_id,
    ])?;
    let began = Instant::now();
    let at = attic.run(&["cardume", "tunnel", "open", &den_id, "echo"])?;
    // The service may still be starting.
    until("the service answers through the tunnel", || {
        let said = attic.attempt(&["python3", "-c", CLIENT, &at])?;
        ensure!(["", "hello"].contains(&said.trim()), "{said:?}");
        Ok((said.trim() == "hello").then_some(()))
    })?;
    tell("a service answered through a tunnel after", began.elapsed());
    attic.run(&["cardume", "tunnel", "close", "echo"])?;
    den.run(&["cardume", "tunnel", "close", "echo"])?;
    den.run(&["systemctl", "stop", "echo"]).map(drop)
}
