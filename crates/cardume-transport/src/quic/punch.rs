//! Holes in our own NAT: packets to a peer that is about to dial us, so that its packets are let in.
//!
//! <https://github.com/libp2p/specs/blob/master/relay/DCUtR.md>
use std::{
    collections::HashMap,
    convert::Infallible,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use futures::{channel::oneshot, future::Either};
use libp2p_identity::PeerId;

use super::{
    Error,
    handshake::{Connected, Knock},
};

/// Bytes of a packet that means nothing.
const NOISE: usize = 64;
/// Milliseconds between two of them.
const PAUSE: std::ops::RangeInclusive<u64> = 10..=200;

/// Those whose connections are waited for.
#[derive(Default)]
pub(super) struct Awaited(HashMap<SocketAddr, oneshot::Sender<Knock>>);

impl Awaited {
    /// Waits for a connection from `remote`.
    pub(super) fn add(&mut self, remote: SocketAddr) -> Result<oneshot::Receiver<Knock>, Error> {
        self.0.retain(|_, waiting| !waiting.is_canceled());
        if self.0.contains_key(&remote) {
            return Err(Error::AlreadyWaiting(remote));
        }
        let (sender, receiver) = oneshot::channel();
        self.0.insert(remote, sender);
        Ok(receiver)
    }

    /// Hands `knock` to who waits for it, or gives it back.
    #[expect(clippy::result_large_err, reason = "it is what was given")]
    pub(super) fn arrived(&mut self, knock: Knock) -> Result<(), Knock> {
        match self.0.remove(&knock.from()) {
            Some(waiting) => waiting.send(knock),
            None => Err(knock),
        }
    }
}

/// Sends packets to `remote` until `peer` has come from there; the caller limits the time.
pub(super) async fn wait(
    socket: UdpSocket,
    remote: SocketAddr,
    arrival: oneshot::Receiver<Knock>,
    peer: Option<PeerId>,
) -> Result<Connected, Error> {
    let punching = std::pin::pin!(punch(socket, remote));
    match futures::future::select(arrival, punching).await {
        Either::Left((Ok(knock), _)) => knock.answer(peer).await,
        Either::Left((Err(_), _)) => Err(Error::ListenerGone),
        Either::Right((never, _)) => match never {},
    }
}

async fn punch(socket: UdpSocket, remote: SocketAddr) -> Infallible {
    loop {
        // Whether one of them goes out does not matter: others follow, and the peer tries too.
        let _ = socket.send_to(&rand::random::<[u8; NOISE]>(), remote);
        tokio::time::sleep(Duration::from_millis(rand::random_range(PAUSE))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_waits_for_a_place_at_a_time_and_none_holds_it_for_ever() {
        let place = "192.0.2.1:4011".parse().unwrap();
        let mut awaited = Awaited::default();
        let waiting = awaited.add(place).unwrap();
        assert!(matches!(awaited.add(place), Err(Error::AlreadyWaiting(_))));
        drop(waiting);
        let _waiting = awaited.add(place).unwrap();
        let _other = awaited.add("192.0.2.2:4011".parse().unwrap()).unwrap();
    }
}
