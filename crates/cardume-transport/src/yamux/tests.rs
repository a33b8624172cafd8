use futures::{
    AsyncReadExt as _, AsyncWriteExt as _,
    future::{poll_fn, poll_immediate},
};
use libp2p_core::muxing::StreamMuxerExt as _;
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::{
    flow::CREDIT,
    frame::{ACK, FIN, HEADER, Header, Kind, RST, SYN},
    *,
};
use crate::MAX_STREAMS;

type Pipe = Compat<DuplexStream>;

/// A connection to a peer whose frames are written by hand.
async fn accepted() -> (Muxer<Pipe>, Pipe) {
    let (ours, theirs) = tokio::io::duplex(8 << 20);
    let upgrade = Upgrade::default().upgrade_inbound(ours.compat(), "/yamux/1.0.0");
    (upgrade.await.unwrap(), theirs.compat())
}

fn frame(kind: Kind, flags: u16, stream: u32, len: u32) -> Vec<u8> {
    let header = Header {
        kind,
        flags,
        stream,
        len,
    };
    header.encode().to_vec()
}

fn data(flags: u16, stream: u32, bytes: &[u8]) -> Vec<u8> {
    [
        frame(Kind::Data, flags, stream, bytes.len() as u32),
        bytes.to_vec(),
    ]
    .concat()
}

/// Lets the connection do all that it can.
async fn turn(muxer: &mut Muxer<Pipe>) {
    for _ in 0..50 {
        assert!(poll_immediate(poll_fn(|cx| muxer.poll_unpin(cx))).await.is_none());
        // A task may do so much at once, and no more.
        tokio::task::yield_now().await;
    }
}

async fn header(theirs: &mut Pipe) -> Header {
    let mut bytes = [0; HEADER];
    theirs.read_exact(&mut bytes).await.unwrap();
    Header::decode(bytes).unwrap()
}

async fn expect(theirs: &mut Pipe, kind: Kind, flags: u16, stream: u32, len: u32) {
    let wanted = Header {
        kind,
        flags,
        stream,
        len,
    };
    assert_eq!(header(theirs).await, wanted);
}

/// How a connection ends whose peer sends `bytes` and says no more.
async fn ends(bytes: &[u8]) -> io::Error {
    let (mut muxer, mut theirs) = accepted().await;
    theirs.write_all(bytes).await.unwrap();
    theirs.close().await.unwrap();
    poll_fn(|cx| muxer.poll_unpin(cx)).await.unwrap_err()
}

#[tokio::test]
async fn frames_that_are_none_end_the_connection() {
    let opened = frame(Kind::Window, SYN, 1, 0);
    let cases = [
        vec![0xff; 5_000],
        [3, 4, 5, 6].repeat(3),
        frame(Kind::Window, SYN, 2, 0),
        frame(Kind::Window, SYN, 0, 0),
        [opened.clone(), opened.clone()].concat(),
        [opened.clone(), frame(Kind::Window, 0, 1, u32::MAX)].concat(),
        [opened.clone(), frame(Kind::Data, 0, 1, u32::MAX)].concat(),
        frame(Kind::Data, SYN, 1, CREDIT + 1),
    ];
    for bytes in cases {
        let error = ends(&bytes).await;
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:?}");
    }
    for bytes in [vec![0; 5], data(SYN, 1, &[7; 100])[..50].to_vec()] {
        assert_eq!(ends(&bytes).await.kind(), io::ErrorKind::UnexpectedEof);
    }
    let goodbye = ends(&frame(Kind::GoAway, 0, 0, 2)).await;
    assert_eq!(goodbye.kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn a_peer_cannot_open_more_streams_than_there_may_be() {
    let most = MAX_STREAMS as u32;
    let flood: Vec<u8> = (0..=most)
        .flat_map(|n| frame(Kind::Window, SYN, 2 * n + 1, 0))
        .collect();
    let (mut muxer, mut theirs) = accepted().await;
    theirs.write_all(&flood).await.unwrap();
    turn(&mut muxer).await;
    assert_eq!(muxer.session.lock().streams(), MAX_STREAMS);
    expect(&mut theirs, Kind::Data, RST, 2 * most + 1, 0).await;
    let opening = poll_immediate(poll_fn(|cx| muxer.poll_outbound_unpin(cx))).await;
    assert!(opening.is_none(), "it waits for one to end");
}

#[tokio::test]
async fn an_answer_of_a_whole_piece_needs_no_leave_beyond_the_first_frame() {
    let (mut muxer, mut theirs) = accepted().await;
    let mut stream = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap();
    stream.write_all(b"piece").await.unwrap();
    turn(&mut muxer).await;
    let opened = header(&mut theirs).await;
    assert_eq!((opened.kind, opened.flags, opened.stream), (Kind::Window, SYN, 2));
    expect(&mut theirs, Kind::Data, 0, 2, 5).await;
    theirs.read_exact(&mut [0; 5]).await.unwrap();

    let answer = vec![9; (CREDIT + opened.len) as usize];
    assert!(answer.len() > (1 << 20) + (1 << 17));
    theirs.write_all(&data(ACK | FIN, 2, &answer)).await.unwrap();
    turn(&mut muxer).await;
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    assert!(got == answer);
}

#[tokio::test]
async fn what_all_streams_may_have_unread_is_bounded() {
    let (mut muxer, mut theirs) = accepted().await;
    let mut streams = Vec::new();
    for _ in 0..MAX_STREAMS {
        streams.push(poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap());
    }
    turn(&mut muxer).await;
    let mut extra = 0;
    for _ in 0..MAX_STREAMS {
        extra += header(&mut theirs).await.len;
    }
    assert_eq!(extra, 16 << 20);
    drop(streams);
    let _stream = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap();
    turn(&mut muxer).await;
    for _ in 0..MAX_STREAMS {
        assert_eq!(header(&mut theirs).await.flags, RST);
    }
    assert_eq!(header(&mut theirs).await.len, 1 << 20);
}

#[tokio::test]
async fn who_writes_waits_for_leave_and_goes_on_with_it() {
    let (mut muxer, mut theirs) = accepted().await;
    theirs.write_all(&frame(Kind::Window, SYN, 1, 10)).await.unwrap();
    turn(&mut muxer).await;
    let mut stream = poll_fn(|cx| muxer.poll_inbound_unpin(cx)).await.unwrap();
    let most = CREDIT as usize + 10;
    let bytes = vec![5; most + 1];
    let mut sent = 0;
    while let Some(written) = poll_immediate(stream.write(&bytes[sent..])).await {
        sent += written.unwrap();
        turn(&mut muxer).await;
    }
    assert_eq!(sent, most);
    theirs.write_all(&frame(Kind::Window, 0, 1, 100)).await.unwrap();
    turn(&mut muxer).await;
    assert_eq!(
        poll_immediate(stream.write(&bytes[sent..]))
            .await
            .unwrap()
            .unwrap(),
        1
    );
    assert_eq!(header(&mut theirs).await.flags, ACK);
}

#[tokio::test]
async fn the_end_of_a_stream_is_told_as_what_it_is() {
    let (mut muxer, mut theirs) = accepted().await;
    let opened = [
        data(SYN, 1, b"one"),
        data(SYN | FIN, 3, b"two"),
        data(SYN, 5, b""),
    ]
    .concat();
    theirs.write_all(&opened).await.unwrap();
    turn(&mut muxer).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(poll_fn(|cx| muxer.poll_inbound_unpin(cx)).await.unwrap());
    }
    theirs.write_all(&data(RST, 1, b"")).await.unwrap();
    turn(&mut muxer).await;

    let mut got = Vec::new();
    let cut = streams[0].read_to_end(&mut got).await.unwrap_err();
    assert_eq!(
        (cut.kind(), &got[..]),
        (io::ErrorKind::ConnectionReset, &b"one"[..])
    );
    streams[0].write(b"more").await.unwrap_err();
    got.clear();
    streams[1].read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"two");
    streams[2].close().await.unwrap();

    // One is over, two lacks our end, three lacks the peer's and has ours.
    drop(streams);
    turn(&mut muxer).await;
    expect(&mut theirs, Kind::Data, ACK | FIN, 5, 0).await;
    expect(&mut theirs, Kind::Data, ACK | FIN, 3, 0).await;
    // Of one that nobody has, no more is wanted.
    theirs
        .write_all(&[data(0, 5, &[1; 9_000]), frame(Kind::Ping, SYN, 0, 77)].concat())
        .await
        .unwrap();
    turn(&mut muxer).await;
    expect(&mut theirs, Kind::Data, RST, 5, 0).await;
    expect(&mut theirs, Kind::Ping, ACK, 0, 77).await;
}

#[tokio::test]
async fn whoever_asks_and_does_not_listen_is_not_read_any_more() {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let upgrade = Upgrade::default().upgrade_inbound(ours.compat(), "/yamux/1.0.0");
    let mut muxer = upgrade.await.unwrap();
    let mut theirs = theirs.compat();
    let ping = frame(Kind::Ping, SYN, 0, 1).repeat(100);
    let mut sent = 0;
    while let Some(written) = poll_immediate(theirs.write(&ping)).await {
        sent += written.unwrap();
        turn(&mut muxer).await;
    }
    assert!(sent < 512 * 1024, "{sent}");
    // It is answered when it listens.
    let mut answers = vec![0; 64 * 1024];
    for _ in 0..sent / answers.len() {
        theirs.read_exact(&mut answers).await.unwrap();
        turn(&mut muxer).await;
    }
}

#[tokio::test]
async fn streams_hear_that_their_connection_is_gone() {
    let (mut muxer, _theirs) = accepted().await;
    let mut stream = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap();
    drop(muxer);
    stream.read(&mut [0]).await.unwrap_err();
    stream.write(&[0]).await.unwrap_err();
}
