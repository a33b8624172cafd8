//! Links, as people send, type and mistype them.
use cardume_content::{Cid, Hash, Link, link::ParseLinkError, manifest::Name};
use proptest::prelude::*;

const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

fn directory() -> Cid {
    Cid::directory(Hash::of(b"directory"))
}

fn parse(text: &str) -> Result<Link, ParseLinkError> {
    text.parse()
}

#[test]
fn a_full_link_says_everything() {
    let text = format!(
        "cardume:{}/a%20b/c?n=my%20film%20%26%20more&s=123&p=/ip4/192.0.2.1/udp/4011/quic-v1/p2p/{PEER}&w=https://example.org:8443",
        directory()
    );
    let link = parse(&text).unwrap();
    assert_eq!(link.cid, directory());
    assert_eq!(link.path, ["a b", "c"]);
    assert_eq!(link.name.as_deref(), Some("my film & more"));
    assert_eq!(link.size, Some(123));
    assert_eq!(link.peers.len(), 1);
    assert_eq!(link.origins, ["https://example.org:8443"]);
    assert_eq!(link.to_string(), text);
}

#[test]
fn only_the_cid_is_needed() {
    let cid = directory();
    for text in [
        format!("cardume:{cid}"),
        format!("CARDUME:{cid}"),
        format!("Cardume:{cid}?"),
        format!("cardume:{cid}/"),
        format!("cardume:{cid}?later=1&&x"),
        cid.to_string(),
        format!("{cid}/"),
    ] {
        assert_eq!(parse(&text), Ok(Link::new(cid)), "{text}");
    }
    let hash = Hash::of(b"x");
    assert_eq!(parse(&hash.to_hex()), Ok(Link::new(Cid::blob(hash))));
    assert_eq!(parse(&format!("cardume:{hash}")), Ok(Link::new(Cid::blob(hash))));
}

#[test]
fn the_path_of_a_bare_cid_is_taken_as_typed() {
    let link = parse(&format!("{}/100%/a?b:c#d+e", directory())).unwrap();
    assert_eq!(link.path, ["100%", "a?b:c#d+e"]);
    assert_eq!(parse(&link.to_string()), Ok(link));
}

#[test]
fn a_plus_is_a_plus() {
    assert_eq!(
        parse(&format!("cardume:{}?n=a+b", directory()))
            .unwrap()
            .name
            .as_deref(),
        Some("a+b")
    );
}

#[test]
fn mistakes_are_named() {
    let cid = directory();
    let blob = Cid::blob(Hash::of(b""));
    let shown = |text: String| parse(&text).unwrap_err().to_string();
    assert_eq!(
        shown(format!("cardume://{cid}")),
        "a link has no // after cardume:; write cardume:<CID>"
    );
    assert_eq!(
        shown(format!("ipfs:{cid}")),
        "\"ipfs\" is not a scheme of ours; a link begins with cardume:"
    );
    assert_eq!(
        shown(format!("cardume:{cid}#x")),
        "a link has no #; in a name write %23"
    );
    assert_eq!(shown(String::new()), "not a CID: it is empty");
    assert_eq!(shown("cardume:".to_owned()), "not a CID: it is empty");
    assert!(shown(format!("cardume:{cid}?!key=1")).contains("unknown parameter \"!key\""));
    assert!(shown(format!("cardume:{cid}?%21key=1")).contains("unknown parameter \"!key\""));
    assert!(shown(format!("cardume:{cid}?s=-1")).starts_with("bad value for s"));
    assert!(shown(format!("cardume:{cid}?s=")).starts_with("bad value for s"));
    assert!(shown(format!("cardume:{cid}?s=18446744073709551616")).starts_with("bad value for s"));
    assert!(shown(format!("cardume:{cid}?n=..")).starts_with("bad value for n: unsafe name"));
    assert!(shown(format!("cardume:{cid}?n=a%2Fb")).starts_with("bad value for n: unsafe name"));
    assert!(shown(format!("cardume:{cid}?n=%ff")).contains("not UTF-8"));
    assert!(shown(format!("cardume:{cid}?n=%4")).contains("two hex digits"));
    assert!(shown(format!("cardume:{cid}?n=%é")).contains("two hex digits"));
    assert!(shown(format!("cardume:{cid}?n=a&n=b")).contains("given twice"));
    assert!(shown(format!("cardume:{cid}?p=/ip4/192.0.2.1/tcp/1")).contains("does not end in /p2p/"));
    assert!(shown(format!("cardume:{cid}?p=nonsense")).contains("is no multiaddr"));
    assert!(shown(format!("cardume:{cid}?w=http://example.org")).contains("is no origin"));
    assert!(shown(format!("cardume:{cid}?w=https://")).contains("is no origin"));
    assert!(shown(format!("cardume:{cid}?w=https:///b")).contains("is no origin"));
    assert!(shown(format!("cardume:{cid}?w=https://a/b%20c")).contains("is no origin"));
    assert!(shown(format!("cardume:{cid}?w=https://u@a")).contains("is no origin"));
    assert!(shown(format!("cardume:{cid}/..")).starts_with("bad path in the link: unsafe name"));
    assert!(shown(format!("cardume:{cid}/%2e%2e/x")).starts_with("bad path in the link: unsafe name"));
    assert!(shown(format!("cardume:{cid}//x")).starts_with("bad path in the link"));
    assert!(shown(format!("{cid}/a\nb")).starts_with("bad path in the link"));
    assert!(shown(format!("cardume:{blob}/a")).contains("no names below"));
    let peers = format!("p=/p2p/{PEER}&").repeat(9);
    assert!(shown(format!("cardume:{cid}?{peers}")).contains("more than 8 times"));
    assert_eq!(parse(&"x".repeat(2_001)), Err(ParseLinkError::TooLong(2_001)));
}

#[test]
fn addresses_that_would_make_it_too_long_are_left_out() {
    let mut link = Link::new(directory());
    let long = format!("/dns4/{}.example.org/tcp/4011/p2p/{PEER}", "x".repeat(240));
    link.peers = vec![long.parse().unwrap(); 12];
    let text = link.to_string();
    assert!(text.len() <= Link::MAX_LEN);
    assert!(parse(&text).unwrap().peers.len() >= 4);
    link.peers = vec![format!("/p2p/{PEER}").parse().unwrap(); 12];
    assert_eq!(parse(&link.to_string()).unwrap().peers.len(), Link::MAX_PEERS);
}

fn any_name() -> impl Strategy<Value = String> {
    "[a-z0-9 %?#&=+:é]{1,12}|\\PC{1,8}".prop_filter("safe names", |name| Name::new(name.as_str()).is_ok())
}

fn any_link() -> impl Strategy<Value = Link> {
    let address = prop_oneof![
        Just(format!("/ip4/192.0.2.1/tcp/4011/p2p/{PEER}")),
        Just(format!("/ip6/2001:db8::1/udp/4011/quic-v1/p2p/{PEER}")),
        Just(format!("/dns/example.org/tcp/443/tls/http-path/a%2Fb/p2p/{PEER}")),
        Just(format!("/p2p/{PEER}/p2p-circuit/p2p/{PEER}")),
    ];
    let address = address.prop_map(|text| text.parse().expect("a multiaddr"));
    let origin = prop_oneof![
        Just("https://example.org"),
        Just("https://[2001:db8::1]:8443"),
        Just("https://example.org/a%20b/c?d=e&f"),
    ];
    (
        any::<[u8; 32]>(),
        prop::collection::vec(any_name(), 0..3),
        prop::option::of(any_name()),
        prop::option::of(any::<u64>()),
        prop::collection::vec(address, 0..8),
        prop::collection::vec(origin.prop_map(str::to_owned), 0..2),
    )
        .prop_map(|(hash, path, name, size, peers, origins)| Link {
            cid: Cid::directory(Hash::from_bytes(hash)),
            path,
            name,
            size,
            peers,
            origins,
        })
}

proptest! {
    #[test]
    fn what_is_shown_is_read_back(link in any_link()) {
        let text = link.to_string();
        prop_assert!(text.len() <= Link::MAX_LEN);
        prop_assert!(text.is_ascii());
        prop_assert_eq!(parse(&text), Ok(link));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,100}", tail in "[/?&=%#!nspw0-9a-f]{0,60}") {
        let _ = parse(&text);
        let _ = parse(&format!("cardume:{}{tail}", directory()));
        let _ = parse(&format!("{}{tail}{text}", directory()));
    }
}
