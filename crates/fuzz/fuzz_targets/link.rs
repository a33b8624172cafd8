//! Links: what parses is safe, and is the same link when it is shown and parsed again.
#![no_main]

use cardume_content::{Link, manifest::Name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(link) = text.parse::<Link>() else { return };
    for name in link.path.iter().chain(&link.name) {
        assert!(Name::new(name.as_str()).is_ok());
    }
    assert!(link.peers.len() <= Link::MAX_PEERS);
    let shown = link.to_string();
    assert!(shown.is_ascii());
    match shown.parse::<Link>() {
        // A short text can become a long one: what does not fit is left out, and only a path cannot be.
        Ok(again) if shown.len() + 500 < Link::MAX_LEN => assert_eq!(again, link),
        Ok(again) => assert_eq!((again.cid, again.path), (link.cid, link.path)),
        Err(_) => assert!(shown.len() > Link::MAX_LEN),
    }
});
