//! Lengths, headers and payload on a stream.
use std::io;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt as _};

use super::{invalid, refused};
use crate::Buffers;

/// Bytes of the longest length that is read: 28 bits, more than any bound here.
const LEN_BYTES: u32 = 4;

/// Reads a length and that many bytes.
pub(super) async fn read<T: AsyncRead + Unpin>(io: &mut T, max: usize) -> io::Result<Vec<u8>> {
    let len = read_len(io).await?;
    if len > max {
        return Err(invalid(format_args!(
            "a header of {len} bytes; at most {max} are allowed"
        )));
    }
    let mut header = vec![0; len];
    io.read_exact(&mut header).await?;
    Ok(header)
}

/// Reads exactly `len` bytes, which the caller has bounded.
pub(super) async fn read_payload<T: AsyncRead + Unpin>(
    io: &mut T,
    len: usize,
    buffers: &Buffers,
) -> io::Result<Bytes> {
    let mut payload = buffers.of(len);
    io.read_exact(&mut payload).await?;
    Ok(payload.freeze())
}

/// Waits until the sender has closed its half, and refuses anything before that.
pub(super) async fn read_end<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<()> {
    match io.read(&mut [0]).await? {
        0 => Ok(()),
        _ => Err(invalid("bytes follow the message")),
    }
}

async fn read_len<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<usize> {
    let mut len = 0;
    for index in 0..LEN_BYTES {
        let mut byte = [0];
        io.read_exact(&mut byte).await?;
        let [byte] = byte;
        len |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return if byte == 0 && index > 0 {
                Err(invalid("a length is not minimal"))
            } else {
                Ok(len)
            };
        }
    }
    Err(invalid("a length has more than 28 bits"))
}

/// Puts the length before a header.
pub(super) fn encode(header: Vec<u8>, max: usize) -> io::Result<Vec<u8>> {
    if header.len() > max {
        return Err(refused(format_args!(
            "a header of {} bytes; at most {max} are allowed",
            header.len()
        )));
    }
    let mut out = Vec::with_capacity(header.len() + LEN_BYTES as usize);
    let mut len = header.len();
    while len > 0x7f {
        out.push(0x80 | (len & 0x7f) as u8);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(&header);
    Ok(out)
}
