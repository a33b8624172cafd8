//! Whom a screen turns away, and whom it lets through.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use cardume_transport::{Options, Screen, Timeouts, Transport};
use libp2p_core::{
    Endpoint, Multiaddr, Transport as _,
    transport::{DialOpts, ListenerId, PortUse, TransportEvent, dummy::DummyTransport},
};
use libp2p_identity::Keypair;
use tokio::{io::DuplexStream, time::timeout};
use tokio_util::compat::Compat;

/// Far more than any of this takes.
const GUARD: Duration = Duration::from_secs(60);

fn transport(screen: Option<Screen>) -> Transport {
    let timeouts = Timeouts {
        dial: GUARD,
        accept: GUARD,
    };
    let relays = DummyTransport::<Compat<DuplexStream>>::new();
    let key = Keypair::generate_ed25519();
    let options = Options {
        screen,
        ..timeouts.into()
    };
    cardume_transport::build_with_relays(&key, options, relays).unwrap()
}

async fn listening(transport: &mut Transport, at: &str) -> Multiaddr {
    transport
        .listen_on(ListenerId::next(), at.parse().unwrap())
        .unwrap();
    loop {
        if let TransportEvent::NewAddress { listen_addr, .. } =
            poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).await
        {
            return listen_addr;
        }
    }
}

#[tokio::test]
async fn who_is_turned_away_gets_no_handshake_and_who_is_not_gets_one() {
    for at in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let (closed, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
        let screen = {
            let (closed, asked) = (closed.clone(), asked.clone());
            Screen::new(move |ip| {
                assert!(ip.is_loopback());
                asked.fetch_add(1, Ordering::Relaxed);
                closed.load(Ordering::Relaxed)
            })
        };
        let mut listener = transport(Some(screen));
        let address = listening(&mut listener, at).await;
        let accepting = tokio::spawn(async move {
            loop {
                let event = poll_fn(|cx| Pin::new(&mut listener).poll(cx)).await;
                if let TransportEvent::Incoming { upgrade, .. } = event {
                    tokio::spawn(upgrade);
                }
            }
        });
        let mut dialer = transport(None);
        let options = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let refused = timeout(GUARD, dialer.dial(address.clone(), options).unwrap())
            .await
            .unwrap();
        assert!(refused.is_err(), "{at}");
        assert_eq!(asked.load(Ordering::Relaxed), 1, "{at}");
        closed.store(false, Ordering::Relaxed);
        timeout(GUARD, dialer.dial(address, options).unwrap())
            .await
            .unwrap()
            .unwrap();
        accepting.abort();
    }
}
