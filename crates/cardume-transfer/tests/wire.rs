//! The codec alone, on bytes in memory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::{io, time::Duration};

use bytes::Bytes;
use cardume_content::{Cid, Hash, Kind, PieceSet, pieces::piece_count};
use cardume_transfer::{
    Item, Request, Response, SwarmPeer,
    message::{MAX_MANY, MAX_RUNS, MAX_SIZE},
    wire::{self, Codec},
};
use futures::executor::block_on;
use libp2p_identity::PeerId;
use libp2p_request_response::Codec as _;
use proptest::prelude::*;

fn write_request(request: Request) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    block_on(Codec.write_request(&wire::protocol("test"), &mut out, request)).map(|()| out)
}

fn read_request(mut bytes: &[u8]) -> io::Result<Request> {
    block_on(Codec.read_request(&wire::protocol("test"), &mut bytes))
}

fn write_response(response: Response) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    block_on(Codec.write_response(&wire::protocol("test"), &mut out, response)).map(|()| out)
}

fn read_response(mut bytes: &[u8]) -> io::Result<Response> {
    block_on(Codec.read_response(&wire::protocol("test"), &mut bytes))
}

fn cid() -> impl Strategy<Value = Cid> {
    (any::<bool>(), any::<[u8; 32]>()).prop_map(|(blob, digest)| {
        Cid::new(
            if blob { Kind::Blob } else { Kind::Directory },
            Hash::from_bytes(digest),
        )
    })
}

fn request() -> impl Strategy<Value = Request> {
    let ranges = proptest::collection::vec((0..1_u64 << 30, 1..1_u64 << 30), 1..10).prop_map(|steps| {
        let mut end = 0;
        let mut range = |(gap, len): (u64, u64)| {
            let start = end + gap;
            end = start + len;
            start..end
        };
        steps.into_iter().map(&mut range).collect()
    });
    prop_oneof![
        (cid(), ranges).prop_map(|(cid, ranges)| Request::Get { cid, ranges }),
        proptest::collection::vec(cid(), 1..20).prop_map(|cids| Request::GetMany { cids }),
        (cid(), any::<Option<u64>>()).prop_map(|(cid, since)| Request::Have { cid, since }),
        cid().prop_map(|cid| Request::Swarm { cid }),
    ]
}

fn payload() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from)
}

fn response() -> impl Strategy<Value = Response> {
    let size = 0..=MAX_SIZE;
    let item = prop_oneof![
        (size.clone(), payload()).prop_map(|(size, slice)| Item::Blob { size, slice }),
        Just(Item::NotFound),
        size.clone().prop_map(|size| Item::TooLarge { size }),
    ];
    let have = (
        0..=1_u64 << 28,
        any::<u64>(),
        proptest::collection::vec(any::<u16>(), 0..30),
    )
        .prop_map(|(size, version, held)| {
            let mut pieces = PieceSet::empty(piece_count(size));
            for index in held {
                pieces.insert(u64::from(index) % pieces.len());
            }
            Response::Have {
                size,
                version,
                pieces,
            }
        });
    prop_oneof![
        (size, proptest::collection::vec(payload(), 0..5))
            .prop_map(|(size, slices)| Response::Slices { size, slices }),
        proptest::collection::vec(item, 0..10).prop_map(|items| Response::Many { items }),
        have,
        (0..4_u32).prop_map(|n| Response::Swarm {
            peers: (0..n)
                .map(|n| SwarmPeer {
                    peer: PeerId::random(),
                    addresses: vec![format!("/ip4/192.0.2.{n}/tcp/4011").parse().unwrap()],
                })
                .collect(),
        }),
        Just(Response::NotFound),
        (0..3_600_000_u64).prop_map(|ms| Response::Busy {
            retry_after: Duration::from_millis(ms)
        }),
        Just(Response::Denied),
        Just(Response::Coming { bytes: 5 }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(request in request(), response in response()) {
        prop_assert_eq!(read_request(&write_request(request.clone()).unwrap()).unwrap(), request);
        prop_assert_eq!(read_response(&write_response(response.clone()).unwrap()).unwrap(), response);
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let framed = [&[bytes.len() as u8 & 0x7f], &bytes[..]].concat();
        for bytes in [bytes, framed] {
            let _ = read_request(&bytes);
            let _ = read_response(&bytes);
        }
    }

    #[test]
    fn no_damage_causes_a_panic(
        request in request(),
        response in response(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for mut bytes in [write_request(request).unwrap(), write_response(response).unwrap()] {
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = read_request(&bytes);
            let _ = read_response(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            prop_assert!(read_request(&bytes).is_err() || read_response(&bytes).is_err());
        }
    }

    #[test]
    fn a_message_that_ends_early_is_told_from_one_that_is_wrong(response in response(), cut in any::<prop::sample::Index>()) {
        let bytes = write_response(response).unwrap();
        let error = read_response(&bytes[..cut.index(bytes.len())]).unwrap_err();
        prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn the_largest_messages_fit() {
    let cids = vec![Cid::blob(Hash::from_bytes([0xff; 32])); MAX_MANY];
    let bytes = write_request(Request::GetMany { cids }).unwrap();
    assert!(bytes.len() <= wire::MAX_REQUEST, "{}", bytes.len());
    read_request(&bytes).unwrap();

    // Every second piece of the largest blob: far more runs than are told.
    let mut pieces = PieceSet::empty(piece_count(MAX_SIZE));
    for index in (0..pieces.len()).step_by(2) {
        pieces.insert(index);
    }
    let bytes = write_response(Response::Have {
        size: MAX_SIZE,
        version: u64::MAX,
        pieces: pieces.clone(),
    })
    .unwrap();
    assert!(bytes.len() <= wire::MAX_RESPONSE, "{}", bytes.len());
    let Response::Have { pieces: told, .. } = read_response(&bytes).unwrap() else {
        panic!()
    };
    assert_eq!(told.count(), MAX_RUNS as u64);
    assert!(
        told.iter().all(|index| pieces.contains(index)),
        "what is not held is never told"
    );
}

#[test]
fn slices_share_one_buffer() {
    let slices = vec![Bytes::from_static(b"first"), Bytes::from_static(b"second")];
    let bytes = write_response(Response::Slices { size: 11, slices }).unwrap();
    let Response::Slices { slices, .. } = read_response(&bytes).unwrap() else {
        panic!()
    };
    assert_eq!(slices[0].as_ptr_range().end, slices[1].as_ptr());
}

#[test]
fn an_unknown_kind_is_named() {
    let error = read_request(&[2, 0x81, 9]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(
        error.to_string().contains("requests of kind 9 are not known"),
        "{error}"
    );
}

#[test]
fn a_blob_larger_than_any_may_be_is_refused_before_its_pieces_take_memory() {
    for size in [MAX_SIZE + 1, u64::MAX] {
        let header = serde_ipld_dagcbor::to_vec(&(2, size, 0, [0_u64; 0])).unwrap();
        let error = read_response(&[&[header.len() as u8], &header[..]].concat()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn the_protocol_carries_the_network() {
    assert_eq!(wire::protocol("main").as_ref(), "/cardume/main/transfer/1");
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    let cid = Cid::blob(Hash::from_bytes([7; 32]));
    let bytes = write_request(Request::Get {
        cid,
        ranges: vec![0..65536, 131_072..131_073],
    })
    .unwrap();
    let mut expected = vec![
        56, // bytes of the header
        0x83, 0x00, // an array of three; Get
        0x58, 36, 0x01, 0x55, 0x1e, 0x20, // the CID, a byte string
    ];
    expected.extend([7; 32]);
    expected.extend([
        0x82, // two ranges
        0x82, 0x00, 0x1a, 0, 1, 0, 0, // [0, 65536]
        0x82, 0x1a, 0, 2, 0, 0, 0x1a, 0, 2, 0, 1, // [131072, 131073]
    ]);
    expected[0] = expected.len() as u8 - 1;
    assert_eq!(bytes, expected);

    let slices = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
    let bytes = write_response(Response::Slices { size: 3, slices }).unwrap();
    assert_eq!(bytes, [6, 0x83, 0x00, 0x03, 0x82, 0x02, 0x01, b'a', b'b', b'c']);
    assert_eq!(
        write_response(Response::Busy {
            retry_after: Duration::from_millis(500)
        })
        .unwrap(),
        [5, 0x82, 0x05, 0x19, 1, 0xf4]
    );
}
