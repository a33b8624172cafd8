//! The listener's side of multistream-select, for one protocol.
//!
//! <https://github.com/multiformats/multistream-select>
//!
//! Whoever asks for something else first is not of the network. The usual implementation says no and goes on listening,
//! for as long as the other side cares to hold the stream.
use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What both sides say first.
const HEADER: &[u8] = b"/multistream/1.0.0\n";
/// The answer to a protocol that is not spoken.
const NO: &[u8] = b"na\n";
/// Bytes of a line: more than any name of ours, and few enough that their number is one byte.
const MAX_LINE: u8 = 127;

/// Agrees to `protocol`, or says no; whether it has agreed.
pub(crate) async fn agree(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    protocol: &str,
) -> io::Result<bool> {
    let mut line = [0; MAX_LINE as usize];
    if receive(io, &mut line).await? != Some(HEADER) {
        return Ok(false);
    }
    send(io, HEADER).await?;
    let wanted = receive(io, &mut line).await?;
    let is_wanted = wanted.and_then(|line| line.strip_suffix(b"\n")) == Some(protocol.as_bytes());
    match wanted {
        Some(line) if is_wanted => send(io, line).await?,
        _ => send(io, NO).await?,
    }
    Ok(is_wanted)
}

/// Reads a line after its length; nothing, if it is longer than any of ours.
async fn receive<'a>(
    io: &mut (impl AsyncRead + Unpin),
    line: &'a mut [u8; MAX_LINE as usize],
) -> io::Result<Option<&'a [u8]>> {
    let mut length = [0];
    io.read_exact(&mut length).await?;
    let Some(line) = line.get_mut(..usize::from(length[0])) else {
        return Ok(None);
    };
    io.read_exact(line).await?;
    Ok(Some(line))
}

async fn send(io: &mut (impl AsyncWrite + Unpin), line: &[u8]) -> io::Result<()> {
    let length = u8::try_from(line.len()).map_err(io::Error::other)?;
    io.write_all(&[&[length], line].concat()).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use std::iter;

    use futures::{executor::block_on, future::join, io::Cursor};
    use multistream_select::{Version, dialer_select_proto};
    use proptest::prelude::*;
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    use super::*;

    const PROTOCOL: &str = "/cardume/main/membership/1";

    /// What the usual implementation and ours make of it when it asks for `wanted`.
    fn negotiate(wanted: &str, version: Version) -> (bool, bool) {
        let (ours, theirs) = tokio::io::duplex(1024);
        let listen = async {
            let mut io = ours.compat();
            let agreed = agree(&mut io, PROTOCOL).await.unwrap();
            if agreed {
                let mut heard = [0; 5];
                io.read_exact(&mut heard).await.unwrap();
                assert_eq!(&heard, b"hello");
                io.write_all(b"world").await.unwrap();
            }
            agreed
        };
        let dial = async {
            let selected = dialer_select_proto(theirs.compat(), iter::once(wanted), version).await;
            let Ok((_, mut io)) = selected else { return false };
            io.write_all(b"hello").await.unwrap();
            io.flush().await.unwrap();
            let mut heard = [0; 5];
            io.read_exact(&mut heard).await.is_ok() && &heard == b"world"
        };
        block_on(join(listen, dial))
    }

    #[test]
    fn the_usual_implementation_comes_to_terms_with_it_or_hears_no() {
        for version in [Version::V1, Version::V1Lazy] {
            assert_eq!(negotiate(PROTOCOL, version), (true, true));
            for wanted in ["/ipfs/id/1.0.0", "/cardume/yard/membership/1", "/x"] {
                assert_eq!(negotiate(wanted, version), (false, false), "{wanted}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_peer_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = block_on(agree(&mut Cursor::new(bytes.clone()), PROTOCOL));
            let greeted = [&[HEADER.len() as u8][..], HEADER, &bytes].concat();
            prop_assert!(!matches!(block_on(agree(&mut Cursor::new(greeted), PROTOCOL)), Ok(true)));
        }
    }
}
