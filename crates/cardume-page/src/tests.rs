use cardume_api::{Finding, Peer, Status};

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
        flows: vec![
            Flow {
                peer_id: peer.peer_id.clone(),
                name: Some("</text><script>alert(2)</script>".into()),
                sent: 2_048,
                gives: vec!["<i>song</i>".repeat(9), "film".into(), "book".into()],
                ..Flow::default()
            },
            Flow {
                peer_id: peer.peer_id.clone(),
                received: 512,
                ..Flow::default()
            },
        ],
        peers: vec![peer],
        operations: vec![],
        files: vec![],
        topics: vec![],
        tunnels: vec![],
        names: BTreeMap::new(),
        diagnosis: None,
        may_change: true,
        may_operate: true,
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
        !page.contains("style=") && !page.contains(" onclick") && !page.contains(" onload"),
        "nothing inline"
    );
}

#[test]
fn who_may_only_look_is_offered_nothing_else() {
    let mut view = view();
    assert!(page(&view).contains("id=\"get\"") && page(&view).contains("id=\"share\""));
    view.may_change = false;
    assert!(!page(&view).contains("id=\"get\"") && !page(&view).contains("id=\"share\""));
    assert!(page(&view).contains("id=\"check\"") && page(&view).contains("id=\"lines\""));
    view.may_operate = false;
    assert!(!page(&view).contains("id=\"check\"") && !page(&view).contains("id=\"lines\""));
}

#[test]
fn what_is_live_is_in_the_page_as_it_is_alone() {
    let view = view();
    assert!(page(&view).contains(&live(&view)));
    for id in ["node", "work", "flows", "peers", "files", "topics", "doctor"] {
        assert!(live(&view).contains(&format!("<section id=\"{id}\"")), "{id}");
    }
}

#[test]
fn a_link_is_a_picture_unless_it_is_too_long() {
    assert!(qr("cardume:x").unwrap().contains("<svg"));
    assert_eq!(qr(&"x".repeat(4_000)), None);
}

#[test]
fn what_the_doctor_found_is_told_worst_first() {
    let mut view = view();
    assert!(!page(&view).contains("looked at"), "nothing before somebody asks");
    let findings = vec![
        Finding::ok("clock", "it is right"),
        Finding::note("mdns", "it is switched off"),
        Finding::wrong("ports", "taken <b>twice</b>\nby others", "change them"),
    ];
    let diagnosis = Diagnosis {
        healthy: false,
        version: "1.0.0".into(),
        daemon: true,
        data_dir: "/d".into(),
        findings,
    };
    view.diagnosis = Some((diagnosis, 125));
    let page = page(&view);
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
    assert!(place("1 thing is wrong") < place("looked at 2 min ago"));
    assert!(place("taken &lt;b&gt;twice&lt;/b&gt;") < place("→ change them"));
    assert!(place("→ change them") < place("it is switched off"));
    assert!(place("it is switched off") < place("1 is as it should be"));
    assert!(place("1 is as it should be") < place("it is right"));
}

#[test]
fn who_serves_what_is_a_picture_and_words() {
    let mut view = view();
    let shown = live(&view);
    assert!(shown.contains("vnc6iDEp serves content to"));
    assert!(shown.contains("class=\"line received\"") && shown.contains("class=\"line sent\""));
    assert!(shown.contains("1 more") && shown.contains("2.0 KiB/s"), "{shown}");
    assert_eq!(shown.matches("<tr><th scope=\"row\">").count(), 2);
    view.flows = vec![view.flows[0].clone(); 20];
    assert!(live(&view).contains("and 12 more"));
    assert_eq!(
        live(&view).matches("class=\"line sent\"").count(),
        8,
        "few enough to be read"
    );
    view.flows.clear();
    assert!(live(&view).contains("just now") && !live(&view).contains("class=\"flows\""));
}

#[test]
fn tunnels_are_shown_where_there_are_any() {
    let mut view = view();
    assert!(!page(&view).contains("Tunnels"));
    let tunnel = |more: serde_json::Value| -> Tunnel {
        let mut value = serde_json::json!({
            "name": "web", "role": "forward", "protocol": "tcp", "configured": true, "state": "ready",
            "connections": 3, "opened": 7, "failed": 1, "received": 2048, "sent": 1, "lost": 0,
        });
        value
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    };
    view.tunnels = vec![
        tunnel(
            serde_json::json!({"listen": "127.0.0.1:8080", "peer": "nas", "service": "wiki", "state": "failed",
            "problem": "in <i>use</i>"}),
        ),
        tunnel(
            serde_json::json!({"name": "ssh", "role": "expose", "target": "127.0.0.1:22", "allow": ["nas", "group:x"]}),
        ),
    ];
    let page = page(&view);
    for text in [
        "127.0.0.1:8080 (does not listen)",
        "wiki of nas",
        "web: in &lt;i&gt;use",
        "127.0.0.1:22",
        "for nas, group:x",
        "2.0 KiB",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}
