//! What a daemon says when it has started.
use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use cardume_node::Node;
use multiaddr::Multiaddr;

use crate::out::Out;

/// Looks at what the system says of listeners, and time between two: it tells of them one by one.
const LOOKS: u32 = 40;
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Tells who and where the node is: to a person what to type next, to a log as one event.
pub(super) async fn say(node: &Node, out: &Out) {
    let listen: Vec<String> = listeners(node).await.iter().map(ToString::to_string).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        peer_id = %node.peer_id(),
        listen = ?listen,
        socket = %node.socket().display(),
        data_dir = %node.data_dir().display(),
        "ready",
    );
    if !io::stderr().is_terminal() {
        return;
    }
    out.say(format!("cardume {} is running", env!("CARGO_PKG_VERSION")));
    out.say(format!("  peer id    {}", node.peer_id()));
    for (index, address) in listen.iter().enumerate() {
        let head = if index == 0 { "listening" } else { "" };
        out.say(format!("  {head:<9}  {address}"));
    }
    out.say(format!("  socket     {}", node.socket().display()));
    out.say(format!("  data       {}", node.data_dir().display()));
    out.say("Next, in another terminal: cardume share FILE   (Ctrl-C here stops the node)");
}

/// Where the node listens, once nothing more is added.
async fn listeners(node: &Node) -> Vec<Multiaddr> {
    let mut known = node.addresses().await.listen;
    for _ in 0..LOOKS {
        tokio::time::sleep(LOOK_AGAIN).await;
        let now = node.addresses().await.listen;
        if !now.is_empty() && now == known {
            break;
        }
        known = now;
    }
    known
}
