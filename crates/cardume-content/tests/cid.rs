//! Content ids, as text and as bytes.
use cardume_content::{Cid, Hash, Kind, cid::ParseCidError};
use proptest::prelude::*;

const EMPTY_HEX: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

#[test]
fn text_is_base32_and_begins_as_documented() {
    let blob = Cid::blob(Hash::of(b""));
    assert!(blob.to_string().starts_with("bafkr4i"), "{blob}");
    assert!(Cid::directory(Hash::of(b"")).to_string().starts_with("bafyr4i"));
    assert_eq!(blob.hash().to_hex(), EMPTY_HEX);
    assert_eq!(blob.kind(), Kind::Blob);
}

#[test]
fn hex_digits_of_blake3_name_a_blob() {
    assert_eq!(EMPTY_HEX.parse(), Ok(Cid::blob(Hash::of(b""))));
    assert_eq!(EMPTY_HEX.to_uppercase().parse(), Ok(Cid::blob(Hash::of(b""))));
    assert!(EMPTY_HEX[..63].parse::<Cid>().is_err());
}

#[test]
fn every_multibase_is_read() {
    let ours = Cid::directory(Hash::of(b"x"));
    let theirs = cid::Cid::from(ours);
    for base in [
        cid::multibase::Base::Base58Btc,
        cid::multibase::Base::Base16Lower,
        cid::multibase::Base::Base64Url,
        cid::multibase::Base::Base32Upper,
        cid::multibase::Base::Base36Lower,
        cid::multibase::Base::Base2,
    ] {
        assert_eq!(
            theirs.to_string_of_base(base).unwrap().parse(),
            Ok(ours),
            "{base:?}"
        );
    }
}

#[test]
fn other_cids_are_refused_by_name() {
    let parse = |text: &str| text.parse::<Cid>().unwrap_err();
    assert_eq!(
        parse("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"),
        ParseCidError::Version(0)
    );
    let sha256 = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    assert_eq!(parse(sha256), ParseCidError::Multihash(0x12));
    let mut bytes = Cid::blob(Hash::of(b"")).to_bytes();
    bytes[1] = 0x70;
    assert_eq!(Cid::from_bytes(&bytes), Err(ParseCidError::Codec(0x70)));
    bytes[1] = 0x55;
    bytes[3] = 31;
    assert!(matches!(
        Cid::from_bytes(&bytes[..35]),
        Err(ParseCidError::Multihash(0x1e))
    ));
    for text in [
        "",
        "x",
        "bafk",
        "not a cid",
        "/ipfs/bafk",
        "b",
        "ÿ",
        &"b".repeat(100_000),
    ] {
        assert!(matches!(parse(text), ParseCidError::Malformed(_)), "{text:.20}");
    }
}

#[test]
fn mistakes_are_named() {
    let shown = |text: &str| text.parse::<Cid>().unwrap_err().to_string();
    let blob = Cid::blob(Hash::of(b"")).to_string();
    assert_eq!(
        shown("film.mp4"),
        "not a CID: \"film.mp4\" does not decode; ours begin bafkr4i or bafyr4i"
    );
    assert_eq!(
        shown(&blob[..57]),
        "not a CID: its multihash is malformed or cut short"
    );
    assert_eq!(shown(&format!("{blob}aa")), "not a CID: there are bytes after it");
    assert_eq!(shown("b"), "not a CID: it ends too early");
}

#[test]
fn bytes_after_a_cid_are_refused() {
    let mut bytes = Cid::blob(Hash::of(b"")).to_bytes().to_vec();
    bytes.push(0);
    assert!(Cid::from_bytes(&bytes).is_err());
}

#[test]
fn serde_writes_text_for_people_and_bytes_for_machines() {
    let ours = Cid::blob(Hash::of(b"x"));
    let json = serde_json::to_string(&ours).unwrap();
    assert_eq!(json, format!("\"{ours}\""));
    assert_eq!(serde_json::from_str::<Cid>(&json).unwrap(), ours);
    let cbor = serde_ipld_dagcbor::to_vec(&ours).unwrap();
    assert_eq!(cbor.len(), 2 + Cid::LEN);
    assert_eq!(serde_ipld_dagcbor::from_slice::<Cid>(&cbor).unwrap(), ours);
}

proptest! {
    #[test]
    fn text_and_bytes_come_back(digest in any::<[u8; 32]>(), directory in any::<bool>()) {
        let kind = if directory { Kind::Directory } else { Kind::Blob };
        let cid = Cid::new(kind, Hash::from_bytes(digest));
        prop_assert_eq!(cid.to_string().parse(), Ok(cid));
        prop_assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
    }

    #[test]
    fn no_bytes_and_no_text_make_it_panic(bytes in any::<Vec<u8>>(), text in "\\PC{0,80}|[bfzmukBFZ0179]\\PC{0,80}") {
        let _ = Cid::from_bytes(&bytes);
        let _ = text.parse::<Cid>();
    }
}
