use cardume_api::{Peer, Status};

use super::*;

fn status() -> Status {
    let value = serde_json::json!({
        "peer_id": "12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8", "name": "<b>den</b>", "version": "1.0.0",
        "uptime_s": 61, "ready": true, "listen": [], "external": [], "peers": 1, "network": "main", "roots": 0,
        "shares": [], "operations": 0, "data_dir": "/d",
        "rates": {"limits": {}, "origin": "configuration", "schedule": null, "ends_in_s": null, "configured": {},
            "upload": 2048, "download": 0},
    });
    serde_json::from_value(value).unwrap()
}

fn view() -> View {
    let evil = "</td><script>alert(1)</script>".repeat(9);
    let peer: Peer = serde_json::from_value(serde_json::json!({
        "peer_id": "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp", "name": null,
        "address": "/ip4/127.0.0.1/tcp/1", "agent": evil, "path": "direct", "transport": "tcp", "rtt_ms": 1.25,
        "sent": 1, "received": 2, "outbound": true, "connected_s": 3,
    }))
    .unwrap();
    View {
        status: status(),
        peers: vec![peer],
        operations: vec![],
        files: vec![],
        topics: vec![],
        may_change: true,
    }
}

#[test]
fn what_others_call_themselves_is_text_and_short() {
    let page = page(&view());
    assert!(
        !page.contains("<script>alert") && page.contains("&lt;script&gt;alert"),
        "{page}"
    );
    assert!(!page.contains("<b>den") && page.contains("…"));
    assert_eq!(page.matches("<script").count(), 1, "our own");
    assert!(
        !page.contains("style=") && !page.contains(" on"),
        "nothing inline"
    );
}

#[test]
fn who_may_only_look_is_offered_nothing_else() {
    let mut view = view();
    assert!(page(&view).contains("id=\"get\"") && page(&view).contains("id=\"share\""));
    view.may_change = false;
    assert!(!page(&view).contains("id=\"get\"") && !page(&view).contains("id=\"share\""));
}

#[test]
fn what_is_live_is_in_the_page_as_it_is_alone() {
    let view = view();
    assert!(page(&view).contains(&live(&view)));
    for id in ["node", "work", "peers", "files", "topics"] {
        assert!(live(&view).contains(&format!("<section id=\"{id}\"")), "{id}");
    }
}

#[test]
fn a_link_is_a_picture_unless_it_is_too_long() {
    assert!(qr("cardume:x").unwrap().contains("<svg"));
    assert_eq!(qr(&"x".repeat(4_000)), None);
}
