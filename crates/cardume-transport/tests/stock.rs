//! Our transports and the stock libp2p stack understand each other, whoever dials.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod talk;

use libp2p_core::{Transport as _, muxing::StreamMuxerBox, upgrade::Version};
use libp2p_identity::Keypair;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use self::talk::{GUARD, Transport, accept, dial, listen, ours, stay, talk_through};

fn stock_tls(key: &Keypair) -> Transport {
    tcp()
        .authenticate(libp2p_tls::Config::new(key).unwrap())
        .multiplex(libp2p_yamux::Config::default())
        .boxed()
}

fn stock_noise(key: &Keypair) -> Transport {
    tcp()
        .authenticate(libp2p_noise::Config::new(key).unwrap())
        .multiplex(libp2p_yamux::Config::default())
        .boxed()
}

fn tcp() -> libp2p_core::transport::upgrade::Builder<libp2p_tcp::tokio::Transport> {
    libp2p_tcp::tokio::Transport::default().upgrade(Version::V1)
}

fn stock_web(key: &Keypair) -> Transport {
    libp2p_websocket::Config::new(libp2p_tcp::tokio::Transport::default())
        .upgrade(Version::V1)
        .authenticate(libp2p_noise::Config::new(key).unwrap())
        .multiplex(libp2p_yamux::Config::default())
        .boxed()
}

fn stock_quic(key: &Keypair) -> Transport {
    libp2p_quic::tokio::Transport::new(libp2p_quic::Config::new(key))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const WEB: &str = "/ip4/127.0.0.1/tcp/0/ws";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// Connects the two, and lets each send to the other on several streams at once.
async fn talk(
    make_listener: fn(&Keypair) -> Transport,
    make_dialer: fn(&Keypair) -> Transport,
    address: &str,
) {
    talk_through(make_listener, make_dialer, address, |address| address).await;
}

#[tokio::test]
async fn two_of_ours_talk_over_tcp() {
    talk(ours, ours, TCP).await;
}

#[tokio::test]
async fn two_of_ours_talk_over_quic() {
    talk(ours, ours, QUIC).await;
}

#[tokio::test]
async fn two_of_ours_talk_over_web_sockets() {
    talk(ours, ours, WEB).await;
}

#[tokio::test]
async fn the_stock_stack_dials_us_over_web_sockets() {
    talk(ours, stock_web, WEB).await;
}

#[tokio::test]
async fn we_dial_the_stock_stack_over_web_sockets() {
    talk(stock_web, ours, WEB).await;
}

#[tokio::test]
async fn the_stock_stack_dials_us_with_tls() {
    talk(ours, stock_tls, TCP).await;
}

#[tokio::test]
async fn we_dial_the_stock_stack_with_tls() {
    talk(stock_tls, ours, TCP).await;
}

#[tokio::test]
async fn the_stock_stack_dials_us_with_noise() {
    talk(ours, stock_noise, TCP).await;
}

#[tokio::test]
async fn we_fall_back_to_noise_where_there_is_no_tls() {
    talk(stock_noise, ours, TCP).await;
}

#[tokio::test]
async fn the_stock_stack_dials_us_over_quic() {
    talk(ours, stock_quic, QUIC).await;
}

#[tokio::test]
async fn we_dial_the_stock_stack_over_quic() {
    talk(stock_quic, ours, QUIC).await;
}

/// What a stranger may send first, and whether it then waits or hangs up.
fn garbage() -> Vec<Vec<u8>> {
    let select_tls = b"\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n";
    let select_noise = b"\x13/multistream/1.0.0\n\x07/noise\n";
    let record = |kind: u8, len: u16, body: &[u8]| {
        let len = len.to_be_bytes();
        [&select_tls[..], &[kind, 3, 3, len[0], len[1]], body].concat()
    };
    vec![
        vec![0xff; 70_000],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x13/multistream/1.0.0\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        record(22, 0xffff, &[1; 70_000]),
        record(22, 4, &[1, 0xff, 0xff, 0xff]),
        record(23, 100, &[0; 100]),
        record(21, 2, &[2, 40]),
        record(99, 10, &[9; 10]),
        [&select_noise[..], &[0xff; 70_000]].concat(),
        [&select_noise[..], &[0, 32], &[7; 32]].concat(),
    ]
}

#[tokio::test]
async fn garbage_in_a_handshake_ends_that_connection_and_no_other() {
    let key = Keypair::generate_ed25519();
    let mut listener = ours(&key);
    let address = listen(&mut listener, TCP).await;
    let port = address
        .to_string()
        .rsplit('/')
        .next()
        .unwrap()
        .parse::<u16>()
        .unwrap();
    for bytes in garbage() {
        let mut stranger = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // It may be hung up on before it has said everything.
        let _ = stranger.write_all(&bytes).await;
        let _ = stranger.shutdown().await;
        let refused = timeout(GUARD, accept(&mut listener))
            .await
            .expect("the handshake ends");
        assert!(refused.is_err(), "{:?}", &bytes[..bytes.len().min(40)]);
        let mut rest = Vec::new();
        let _ = timeout(GUARD, stranger.read_to_end(&mut rest))
            .await
            .expect("the stranger is hung up on");
    }
    let mut dialer = ours(&Keypair::generate_ed25519());
    let dialling = dial(&mut dialer, address);
    tokio::select! {
        accepted = timeout(GUARD, accept(&mut listener)) => accepted.unwrap().unwrap(),
        ended = stay(dialling) => panic!("{ended:?}"),
    };
}
