//! Certificates shown on a connection that nobody else has seen yet.
//!
//! The side that is the dialer of the multiplexer opens one stream, and shows its certificate first: who only listens
//! tells a stranger nothing at all.
use std::{
    future::poll_fn,
    io, iter,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p_core::{
    ConnectedPoint, Endpoint,
    muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox},
};
use libp2p_identity::PeerId;
use multistream_select::{NegotiationError, Version, dialer_select_proto};
use tokio::time::timeout;

use crate::{
    Authority, Flaw, Refused,
    agree::agree,
    members::Members,
    message::{MAX_FIRST, MAX_LATER, Message},
};

/// Time for all of it: three messages, one after the other. Until then a stranger holds a place.
const DEADLINE: Duration = Duration::from_secs(5);
/// Time that a refusal has to arrive in, before the connection is closed under it.
const PARTING: Duration = Duration::from_secs(1);
/// … and the word that this is not what was asked for. Whoever is not of the network may come two hundred times a second,
/// and each holds one of the few places for newcomers as long.
const SHORT_PARTING: Duration = Duration::from_millis(100);

/// The protocol's name in `network`.
pub(crate) fn protocol(network: &str) -> String {
    format!("/cardume/{network}/membership/1")
}

/// Which part this side takes: when both have dialled, a hole is being punched, and they have agreed on it.
pub(crate) fn role(point: &ConnectedPoint) -> Endpoint {
    match point {
        ConnectedPoint::Dialer { role_override, .. } => *role_override,
        ConnectedPoint::Listener { .. } => Endpoint::Listener,
    }
}

/// Shows this node's certificate to `peer`, and sees that of the peer.
pub(crate) async fn pass(
    members: &Members,
    peer: PeerId,
    muxer: &mut StreamMuxerBox,
    role: Endpoint,
) -> Result<(), Refused> {
    let passing = async {
        match role {
            Endpoint::Dialer => show_first(members, peer, muxer).await,
            Endpoint::Listener => show_second(members, peer, muxer).await,
        }
    };
    let passed = timeout(DEADLINE, passing).await.map_err(|_| Refused::Late)?;
    let parting = match passed {
        Err(Refused::Certificate { .. }) => PARTING,
        Err(Refused::Unspoken) => SHORT_PARTING,
        _ => return passed,
    };
    // The other side closes the connection when it has heard why; who does not listen has had its chance.
    let _ = timeout(parting, poll_fn(|cx| turn(muxer, cx))).await;
    passed
}

async fn show_first(members: &Members, peer: PeerId, muxer: &mut StreamMuxerBox) -> Result<(), Refused> {
    let stream = opened(muxer).await?;
    let protocol = protocol(members.network());
    let work = async {
        let selected = dialer_select_proto(stream, iter::once(protocol), Version::V1Lazy).await;
        let (_, mut io) = selected.map_err(unspoken)?;
        members.hello().send(&mut io).await.map_err(lost)?;
        let answer = Message::receive(&mut io, MAX_LATER).await.map_err(lost)?;
        if let Some(flaw) = answer.refusal {
            return Err(refused(members, flaw, &answer));
        }
        if let Err(flaw) = members.admit(peer, &answer.certificate, &answer.lists) {
            return Err(refuse(members, &mut io, peer, flaw, &answer.numbers).await);
        }
        let lists = members.newer(&answer.numbers);
        let last = Message {
            lists,
            ..Message::default()
        };
        last.send(&mut io).await.map_err(lost)?;
        io.close().await.map_err(lost)?;
        // The other side has closed its half with its answer. To let go of the stream before that is seen would take
        // back what has just been sent.
        io.read(&mut [0]).await.map_err(lost)?;
        Ok(())
    };
    // The other side may be of an open network, and begin with other things: it is told nothing, and then closed.
    driven(muxer, false, work).await?
}

async fn show_second(members: &Members, peer: PeerId, muxer: &mut StreamMuxerBox) -> Result<(), Refused> {
    let stream = accepted(muxer).await?;
    let protocol = protocol(members.network());
    let first = async {
        let mut io = stream;
        if !agree(&mut io, &protocol).await.map_err(lost)? {
            return Err(Refused::Unspoken);
        }
        let hello = Message::receive(&mut io, MAX_FIRST).await.map_err(lost)?;
        if let Err(flaw) = members.admit(peer, &hello.certificate, &hello.lists) {
            return Err(refuse(members, &mut io, peer, flaw, &hello.numbers).await);
        }
        Ok((io, hello))
    };
    let (mut io, hello) = driven(muxer, true, first).await??;
    let second = async {
        let answer = Message {
            lists: members.newer(&hello.numbers),
            ..members.hello()
        };
        answer.send(&mut io).await.map_err(lost)?;
        io.close().await.map_err(lost)?;
        let last = Message::receive(&mut io, MAX_LATER).await.map_err(lost)?;
        if let Some(flaw) = last.refusal {
            return Err(refused(members, flaw, &last));
        }
        if last.lists.is_empty() {
            return Ok(());
        }
        // What it brings may be about itself.
        let admitted = members.admit(peer, &hello.certificate, &last.lists);
        admitted.map_err(|flaw| Refused::Certificate { peer, flaw })
    };
    driven(muxer, false, second).await?
}

/// Says what is wrong with the certificate of `peer`, which has the lists that `numbers` says.
async fn refuse(
    members: &Members,
    io: &mut (impl AsyncWrite + Unpin),
    peer: PeerId,
    flaw: Flaw,
    numbers: &[(Authority, u64)],
) -> Refused {
    let message = Message {
        refusal: Some(flaw),
        // So that who was a member knows it from the authority itself.
        lists: match flaw {
            Flaw::Revoked => members.newer(numbers),
            _ => Vec::new(),
        },
        ..Message::default()
    };
    // That it cannot be said changes nothing.
    if message.send(io).await.is_ok() {
        let _ = io.close().await;
    }
    Refused::Certificate { peer, flaw }
}

/// Hears that the other side refuses.
fn refused(members: &Members, flaw: Flaw, message: &Message) -> Refused {
    // What an authority has signed is true whoever brings it; the rest is not worth a word.
    let _ = members.adopt_all(&message.lists);
    Refused::ByOther(flaw)
}

async fn opened(muxer: &mut StreamMuxerBox) -> Result<SubstreamBox, Refused> {
    poll_fn(|cx| {
        if let Poll::Ready(stream) = muxer.poll_outbound_unpin(cx) {
            return Poll::Ready(stream);
        }
        turn(muxer, cx).map(Err)
    })
    .await
    .map_err(lost)
}

async fn accepted(muxer: &mut StreamMuxerBox) -> Result<SubstreamBox, Refused> {
    poll_fn(|cx| {
        if let Poll::Ready(stream) = muxer.poll_inbound_unpin(cx) {
            return Poll::Ready(stream);
        }
        let ended = turn(muxer, cx);
        match muxer.poll_inbound_unpin(cx) {
            Poll::Ready(stream) => Poll::Ready(stream),
            Poll::Pending => ended.map(Err),
        }
    })
    .await
    .map_err(lost)
}

/// Does `work` on a stream of `muxer`, whose bytes move only while the muxer is polled. If it is to be `alone`, a
/// further stream of the peer ends it: one who has shown nothing yet may have one stream, and its memory.
async fn driven<T>(
    muxer: &mut StreamMuxerBox,
    alone: bool,
    work: impl Future<Output = T>,
) -> Result<T, Refused> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if let Poll::Ready(error) = turn(muxer, cx) {
            // Its last words may have come before the end.
            return match work.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Ok(done)),
                Poll::Pending => Poll::Ready(Err(lost(error))),
            };
        }
        if alone && muxer.poll_inbound_unpin(cx).is_ready() {
            return Poll::Ready(Err(Refused::Unasked));
        }
        Poll::Pending
    })
    .await
}

/// Moves bytes, until the connection has ended.
fn turn(muxer: &mut StreamMuxerBox, cx: &mut Context<'_>) -> Poll<io::Error> {
    match muxer.poll_unpin(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(error),
        Poll::Ready(Ok(_)) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Pending,
    }
}

fn unspoken(error: NegotiationError) -> Refused {
    match error {
        NegotiationError::Failed => Refused::Unspoken,
        NegotiationError::ProtocolError(error) => lost(error.into()),
    }
}

fn lost(error: io::Error) -> Refused {
    // A lazy negotiation says so when the first bytes are read.
    let negotiation = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<NegotiationError>());
    match negotiation {
        Some(NegotiationError::Failed) => Refused::Unspoken,
        _ if error.kind() == io::ErrorKind::InvalidData => Refused::Garbled,
        _ => Refused::Lost(error.kind()),
    }
}
