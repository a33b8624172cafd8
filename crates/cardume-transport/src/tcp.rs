//! TCP, as it is under all that is not QUIC.
use libp2p_tcp as tcp;

/// TCP's transport.
pub(crate) type Tcp = tcp::tokio::Transport;

/// Connections that the kernel has accepted and we have not.
const BACKLOG: u32 = 1024;

pub(crate) fn config() -> tcp::Config {
    // Frames leave in whole batches (see `yamux`), so Nagle's wait would only delay their ends.
    tcp::Config::new().nodelay(true).listen_backlog(BACKLOG)
}
