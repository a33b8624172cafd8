//! `ADD_PROVIDER` on the wire: protobuf, after its length as a varint.
//!
//! The fields of `Message` and `Peer` in the specification's `dht.proto`.
use libp2p_identity::PeerId;
use libp2p_kad::RecordKey as Key;
use multiaddr::Multiaddr;

const TYPE: u8 = 1 << 3;
const ADD_PROVIDER: u8 = 2;
const KEY: u8 = 2 << 3 | BYTES;
const PROVIDERS: u8 = 9 << 3 | BYTES;
const PEER_ID: u8 = 1 << 3 | BYTES;
const PEER_ADDRESS: u8 = 2 << 3 | BYTES;
const PEER_CONNECTION: u8 = 3 << 3;
const CONNECTED: u8 = 1;

/// The wire type of a field that says its length.
const BYTES: u8 = 2;

/// Ourselves, as every message says it.
pub(super) fn provider(local: &PeerId, addresses: &[Multiaddr]) -> Vec<u8> {
    let mut peer = Vec::new();
    field(&mut peer, PEER_ID, &local.to_bytes());
    for address in addresses {
        field(&mut peer, PEER_ADDRESS, &address.to_vec());
    }
    peer.extend([PEER_CONNECTION, CONNECTED]);
    peer
}

/// The announcement of one key, with its length before it.
pub(super) fn announcement(key: &Key, provider: &[u8]) -> Vec<u8> {
    let mut message = vec![TYPE, ADD_PROVIDER];
    field(&mut message, KEY, key.as_ref());
    field(&mut message, PROVIDERS, provider);
    let mut framed = Vec::with_capacity(message.len() + 3);
    varint(&mut framed, message.len());
    framed.extend(message);
    framed
}

fn field(to: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    to.push(tag);
    varint(to, bytes.len());
    to.extend(bytes);
}

fn varint(to: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        to.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    to.push(n as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_varints() {
        let mut bytes = Vec::new();
        field(&mut bytes, KEY, &[7; 300]);
        assert_eq!(bytes[..3], [0x12, 0xac, 0x02]);
        assert_eq!(bytes.len(), 303);
        let framed = announcement(&Key::new(b"k"), b"p");
        assert_eq!(framed, [8, 0x08, 2, 0x12, 1, b'k', 0x4a, 1, b'p']);
    }
}
