//! A question for messages of a topic, and the answer, as bytes; see `docs/protocols/history.md`.
use std::{io, time::Duration};

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p_identity::PeerId;

use super::{
    MAX_BYTES,
    signed::{MAX_PROOF, Proof, Signed},
};
use crate::config::MAX_NAME;

/// Bytes of an author's id: a hash of 32 bytes, or a key that is not much longer.
const MAX_AUTHOR: usize = 64;

/// Writes a question for the last `count` messages of a topic.
pub(super) async fn write_question(
    to: &mut (impl AsyncWrite + Unpin),
    topic: &str,
    count: u16,
) -> io::Result<()> {
    let mut bytes = u16::try_from(topic.len())
        .map_err(io::Error::other)?
        .to_be_bytes()
        .to_vec();
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend(count.to_be_bytes());
    to.write_all(&bytes).await?;
    to.close().await
}

/// Reads a question: the topic, and how many messages of it.
pub(super) async fn read_question(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(String, u16)> {
    let length = u16::from_be_bytes(array(from).await?);
    let topic = bytes(from, length.into(), MAX_NAME).await?;
    let topic = String::from_utf8(topic).map_err(invalid)?;
    Ok((topic, u16::from_be_bytes(array(from).await?)))
}

/// Writes an answer: messages, oldest first, with their ages.
pub(super) async fn write_answer(
    to: &mut (impl AsyncWrite + Unpin),
    messages: &[(Duration, Signed)],
) -> io::Result<()> {
    for (age, message) in messages {
        let (author, Proof { signature, key }) = (message.from.to_bytes(), &message.proof);
        let mut head = u32::try_from(age.as_secs())
            .unwrap_or(u32::MAX)
            .to_be_bytes()
            .to_vec();
        head.extend(message.seqno.to_be_bytes());
        for part in [&author[..], signature, key] {
            head.extend(u16::try_from(part.len()).map_err(io::Error::other)?.to_be_bytes());
            head.extend_from_slice(part);
        }
        head.extend(
            u32::try_from(message.data.len())
                .map_err(io::Error::other)?
                .to_be_bytes(),
        );
        to.write_all(&head).await?;
        to.write_all(&message.data).await?;
    }
    to.close().await
}

/// Reads an answer to the end of the stream: at most `count` messages of at most `max` bytes each, and no more in all
/// than anybody may keep.
pub(super) async fn read_answer(
    from: &mut (impl AsyncRead + Unpin),
    count: usize,
    max: usize,
) -> io::Result<Vec<(Duration, Signed)>> {
    let (mut messages, mut size) = (Vec::new(), 0);
    while let Some((age, message)) = read_message(from, max).await? {
        size += message.size();
        if messages.len() >= count || size > MAX_BYTES {
            return Err(invalid("more than was asked for"));
        }
        messages.push((age, message));
    }
    Ok(messages)
}

async fn read_message(
    from: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> io::Result<Option<(Duration, Signed)>> {
    let mut age = [0; 4];
    // The end of the stream is the end of the answer, but only between two messages.
    if from.read(&mut age[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut age[1..]).await?;
    let seqno = u64::from_be_bytes(array(from).await?);
    let author = part(from, MAX_AUTHOR).await?;
    let signature = part(from, MAX_PROOF).await?;
    let key = part(from, MAX_PROOF).await?;
    let length = u32::from_be_bytes(array(from).await?);
    let data = bytes(from, usize::try_from(length).map_err(invalid)?, max).await?;
    let message = Signed {
        from: PeerId::from_bytes(&author).map_err(invalid)?,
        seqno,
        data: data.into(),
        proof: Proof {
            signature: signature.into(),
            key: Bytes::from(key),
        },
    };
    Ok(Some((
        Duration::from_secs(u32::from_be_bytes(age).into()),
        message,
    )))
}

async fn part(from: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Vec<u8>> {
    let length = u16::from_be_bytes(array(from).await?);
    bytes(from, length.into(), max).await
}

/// Looks at a length before it takes memory for it.
async fn bytes(from: &mut (impl AsyncRead + Unpin), length: usize, max: usize) -> io::Result<Vec<u8>> {
    if length > max {
        return Err(invalid("longer than it may be"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn array<const N: usize>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};
    use libp2p_identity::Keypair;

    use super::*;

    fn answer() -> (Vec<(Duration, Signed)>, Vec<u8>) {
        let key = Keypair::generate_ed25519();
        let message = |number: u64| Signed::new(&key, "t", number, vec![1; 100].into()).unwrap();
        let messages: Vec<_> = (0..3)
            .map(|number| (Duration::from_secs(9 - number), message(number)))
            .collect();
        let mut bytes = Vec::new();
        block_on(write_answer(&mut bytes, &messages)).unwrap();
        (messages, bytes)
    }

    #[test]
    fn questions_and_answers_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        block_on(write_question(&mut bytes, "news", 20)).unwrap();
        assert_eq!(bytes, [&[0, 4][..], b"news", &[0, 20]].concat());
        let read = block_on(read_question(&mut Cursor::new(bytes))).unwrap();
        assert_eq!(read, ("news".to_owned(), 20));
        let (messages, bytes) = answer();
        let read = block_on(read_answer(&mut Cursor::new(bytes), 3, 100)).unwrap();
        assert_eq!(read, messages);
    }

    #[test]
    fn an_answer_that_is_too_long_or_cut_off_is_none() {
        let (_, bytes) = answer();
        let read = |bytes: &[u8], count, max| block_on(read_answer(&mut Cursor::new(bytes), count, max));
        assert!(read(&bytes, 2, 100).is_err(), "more messages than were asked for");
        assert!(read(&bytes, 3, 99).is_err(), "longer ones");
        let whole: Vec<_> = (0..bytes.len())
            .filter(|end| read(&bytes[..*end], 3, 100).is_ok())
            .collect();
        assert_eq!(whole, [0, bytes.len() / 3, bytes.len() * 2 / 3]);
        for question in [&[1, 1][..], &[0, 1, 0xff, 0, 1], &[0, 4, 1]] {
            assert!(block_on(read_question(&mut Cursor::new(question))).is_err());
        }
    }
}
