use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, io::Cursor};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::*;

type Half = Frames<Compat<tokio::io::DuplexStream>>;

fn pair() -> (Half, Half) {
    let (client, server) = tokio::io::duplex(1000);
    (
        Frames::new(client.compat(), Side::Client, &[]),
        Frames::new(server.compat(), Side::Server, &[]),
    )
}

#[tokio::test]
async fn what_one_side_writes_the_other_reads_until_it_is_closed() {
    let sent: Vec<u8> = (0..300_000_u32).map(|at| (at >> 3) as u8).collect();
    for turned in [false, true] {
        let (client, server) = pair();
        let (mut from, mut to) = if turned {
            (server, client)
        } else {
            (client, server)
        };
        let mut got = Vec::new();
        let write = async {
            from.write_all(&sent).await.unwrap();
            from.close().await.unwrap();
        };
        let (_, read) = futures::join!(write, to.read_to_end(&mut got));
        read.unwrap();
        assert!(got == sent);
    }
}

#[tokio::test]
async fn a_ping_is_answered_between_frames() {
    let (mut client, mut server) = pair();
    client.push(OpCode::Ping, b"still there?");
    client.write_all(b"hello").await.unwrap();
    client.flush().await.unwrap();
    let mut hello = [0; 5];
    server.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");
    assert!(
        client.read(&mut hello).now_or_never().is_none(),
        "a pong has no bytes for us"
    );
    assert_eq!(&client.control[..12], b"still there?");
}

/// What a server makes of what a client sends.
async fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut frames = Frames::new(Cursor::new(bytes.to_vec()), Side::Server, &[]);
    let mut got = Vec::new();
    frames.read_to_end(&mut got).await.map(|_| got)
}

#[tokio::test]
async fn frames_that_are_wrong_end_the_connection() {
    let masked = [0x82, 0x83, 0, 0, 0, 0, 1, 2, 3];
    assert_eq!(read(&masked).await.unwrap(), [1, 2, 3]);
    let huge = [&[0x82, 0xff][..], &(MAX_FRAME as u64 + 1).to_be_bytes(), &[0; 4]].concat();
    for bytes in [
        &[0x82, 0x03, 1, 2, 3][..],
        &[0x83, 0x80, 0, 0, 0, 0],
        &[0xc2, 0x80, 0, 0, 0, 0],
        &[0x09, 0x80, 0, 0, 0, 0],
        &[0x89, 0xfe, 1, 0],
        &masked[..7],
        &masked[..3],
        &huge,
    ] {
        read(bytes).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_flood_of_empty_frames_holds_nobody_up() {
    let flood = [0x82, 0x80, 0, 0, 0, 0].repeat(10 * TURN);
    let mut frames = Frames::new(Cursor::new(flood), Side::Server, &[]);
    assert!(frames.read(&mut [0]).now_or_never().is_none());
}
