//! Connections that mean no good: random bytes, silence, and drips.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Opens `count` connections to `target` and treats them badly in turn: a third sends random bytes, a third
/// says nothing, a third sends half of a protocol greeting. They stay open until the result is dropped.
pub fn garbage(target: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::with_capacity(count);
    for index in 0..count {
        let Ok(mut stream) = TcpStream::connect_timeout(&target, Duration::from_secs(2)) else {
            continue;
        };
        let _ = stream.set_write_timeout(Some(Duration::from_secs(1)));
        let sent = match index % 3 {
            0 => stream.write_all(&noise(index as u64)),
            1 => Ok(()),
            _ => stream.write_all(b"\x13/multistream/1.0"),
        };
        if sent.is_ok() {
            open.push(stream);
        }
    }
    open
}

fn noise(seed: u64) -> [u8; 256] {
    let mut state = seed | 1;
    std::array::from_fn(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
}
