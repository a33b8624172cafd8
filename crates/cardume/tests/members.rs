//! A closed network, made with the command line and run by real daemons.
#![expect(clippy::unwrap_used, reason = "a test says enough when it panics")]
use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use cardume_testkit::{
    daemon::{Daemon, Home, error, status},
    patience::{self, PATIENCE},
};
use serde_json::Value;

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_cardume")).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// An authority with its key in a directory of its own.
struct Authority {
    home: Home,
    public: String,
}

impl Authority {
    fn new() -> Self {
        let home = home();
        let made = home
            .json(["key", "gen", "--authority", "-o", "authority.key"])
            .unwrap();
        let public = text(&made["authority"]).to_owned();
        Self { home, public }
    }

    /// Signs a certificate for a peer into a file.
    fn sign(&self, peer: &str, file: &Path, options: &[&str]) -> Value {
        let file = file.to_str().unwrap();
        let arguments = [
            "member",
            "sign",
            peer,
            "--key",
            "authority.key",
            "-o",
            file,
            "--force",
        ];
        self.home.json(arguments.iter().chain(options)).unwrap()
    }

    /// A home whose node is a member.
    fn member(&self, options: &[&str]) -> Home {
        let home = home();
        let file = |name: &str| home.path().join(name);
        let key = file("identity.key");
        let made = home.json(["key", "gen", key.to_str().unwrap()]).unwrap();
        self.sign(text(&made["peer_id"]), &file("member"), options);
        let settings = [
            format!("identity.key_file={:?}", key),
            format!("network.certificate_file={:?}", file("member")),
            format!("network.revocations_file={:?}", file("revocations")),
            "network.access=\"certified\"".to_owned(),
        ];
        trust(home.path(), &[self]);
        let home = settings.into_iter().fold(home, |home, setting| home.set(setting));
        let config = home.path().join("cardume.toml");
        home.config(config)
    }
}

/// Writes down whom the node there is to believe.
fn trust(home: &Path, authorities: &[&Authority]) {
    let keys: Vec<_> = authorities.iter().map(|authority| &authority.public).collect();
    let text = format!("[network]\nauthorities = {keys:?}\n");
    fs::write(home.join("cardume.toml"), text).unwrap();
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn peers(daemon: &Daemon) -> usize {
    daemon.json(["status"]).unwrap()["peers"].as_u64().unwrap() as usize
}

#[test]
fn members_fetch_from_each_other_and_a_revoked_one_is_cut_off_everywhere() {
    let authority = Authority::new();
    let [a, b, c] = [&["--groups", "web,eu"][..], &[], &["--for", "1w"]]
        .map(|options| authority.member(options).start().unwrap());
    let file = a.path().join("film");
    fs::write(&file, vec![7; 3 << 20]).unwrap();
    let cid = text(&a.json(["share", file.to_str().unwrap()]).unwrap()["cid"]).to_owned();
    for (daemon, tcp) in [(&b, true), (&c, false)] {
        let address = a.address(tcp).unwrap();
        let got = daemon
            .json(["get", &cid, "-o", "film", "--peer", &address])
            .unwrap();
        assert_eq!(got["size"], 3 << 20);
    }
    b.json(["peer", "connect", &c.address(true).unwrap()]).unwrap();
    let shown = a.json(["status"]).unwrap();
    assert_eq!(
        shown["membership"]["certificate"]["groups"],
        serde_json::json!(["eu", "web"])
    );
    assert_eq!(shown["membership"]["certificate"]["problem"], Value::Null);

    // A node of an open network with the same name has an address and a CID, and gets nothing.
    let stranger = home().start().unwrap();
    for tcp in [true, false] {
        let address = a.address(tcp).unwrap();
        let got = stranger
            .run(["get", &cid, "-o", "film", "--peer", &address, "--timeout", "3s"])
            .unwrap();
        assert!(!got.status.success());
    }
    assert_eq!(peers(&a), 2);
    let refused = a.json(["status"]).unwrap()["membership"]["refused"].clone();
    assert!(
        refused.as_object().is_some_and(|reasons| !reasons.is_empty()),
        "{refused}"
    );

    // Only a is given the list; b and c hear of it from a.
    let list = a.path().join("revocations");
    let revoke = [
        "member",
        "revoke",
        "--key",
        "authority.key",
        "--list",
        list.to_str().unwrap(),
    ];
    let certificate = c.path().join("member");
    let revoked = authority
        .home
        .json(revoke.iter().chain(&[certificate.to_str().unwrap()]))
        .unwrap();
    assert_eq!(revoked["serials"].as_array().unwrap().len(), 1);
    until("the revoked one is cut off", || {
        peers(&a) == 1 && peers(&b) == 1 && peers(&c) == 0
    });
    let told = b.json(["status"]).unwrap()["membership"]["revocations"].clone();
    assert_eq!(told[0]["number"], revoked["number"], "{told}");
    let refused = c.run(["peer", "connect", &b.address(true).unwrap()]).unwrap();
    let said = error(&refused);
    assert!(said.contains("has been revoked"), "{said}");
    let doctor = c.run(["doctor"]).unwrap();
    assert_eq!(status(&doctor), 1);
    let report = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(report.contains("WRONG  member"), "{report}");

    // With a new certificate it is a member again, without a restart.
    authority.sign(&c.peer_id().unwrap(), &certificate, &[]);
    until("the new certificate counts", || {
        c.json(["status"]).unwrap()["membership"]["certificate"]["problem"].is_null()
    });
    c.json(["peer", "connect", &b.address(false).unwrap()]).unwrap();
}

#[test]
fn the_gate_stands_on_relayed_connections_too() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    // Both let in whom either authority has signed; everybody else knows but one.
    let both = format!("network.authorities=[{:?},{:?}]", ours.public, theirs.public);
    let relay = ours.member(&[]).set(&both).set("nat.relay_server=true");
    let relay = relay.start().unwrap();
    let stranger = theirs.member(&[]).set(&both).start().unwrap();
    let relay_address = relay.address(false).unwrap();
    let giver = ours.member(&[]).set(format!("nat.relays=[{relay_address:?}]"));
    let giver = giver.start().unwrap();
    let member = ours.member(&[]).start().unwrap();
    until("a place at the relay", || {
        giver.json(["net", "relays"]).unwrap()[0]["state"] == "held"
    });
    fs::write(giver.path().join("note"), "for members").unwrap();
    let cid = text(&giver.json(["share", "note"]).unwrap()["cid"]).to_owned();
    let through = format!("{relay_address}/p2p-circuit/p2p/{}", giver.peer_id().unwrap());

    stranger.json(["peer", "connect", &relay_address]).unwrap();
    let refused = stranger.run(["peer", "connect", &through]).unwrap();
    let said = error(&refused);
    assert!(
        status(&refused) != 0 && said.contains("refused by the other side"),
        "{said}"
    );
    let get = ["get", &cid, "-o", "note", "--peer", &through, "--timeout", "3s"];
    let got = stranger.run(get).unwrap();
    assert!(!got.status.success() && !stranger.path().join("note").exists());
    let told = giver.json(["status"]).unwrap()["membership"]["refused"].clone();
    assert!(told["unknown_authority"].as_u64() > Some(0), "{told}");
    let connected = giver.run(["--json", "peer", "ls"]).unwrap().stdout;
    let connected = String::from_utf8(connected).unwrap();
    assert!(!connected.contains(&stranger.peer_id().unwrap()), "{connected}");

    member.json(get).unwrap();
    assert_eq!(
        fs::read_to_string(member.path().join("note")).unwrap(),
        "for members"
    );
}

#[test]
fn groups_of_certificates_decide_who_gets_a_share_and_whose_messages_are_taken() {
    let authority = Authority::new();
    let home = authority.member(&[]);
    let file = home.path().join("page");
    fs::write(&file, "for the web").unwrap();
    let giver = home
        .set(format!("share.page.path={file:?}"))
        .set("share.page.allow=[\"group:web\"]")
        .set("topic.news.publishers=[\"group:web\"]")
        .start()
        .unwrap();
    let [web, other] =
        [["--groups", "web,eu"], ["--groups", "eu"]].map(|groups| authority.member(&groups).start().unwrap());
    until("it is shared", || {
        giver.json(["status"]).unwrap()["shares"][0]["state"] == "shared"
    });
    let link = text(&giver.json(["file", "ls"]).unwrap()["link"]).to_owned();
    let get = ["get", &link, "-o", "page", "--timeout", "2s"];
    assert_eq!(
        status(&other.run(get).unwrap()),
        4,
        "it is not there for who is not in it"
    );
    web.json(get).unwrap();
    assert_eq!(
        fs::read_to_string(web.path().join("page")).unwrap(),
        "for the web"
    );
    let denied = giver.json(["status"]).unwrap()["denied"].clone();
    assert!(denied["fetch"].as_u64() > Some(0), "{denied}");

    let listening = giver
        .command()
        .args(["--json", "topic", "sub", "news", "--count", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let publish = |author: &Daemon, text: &str| {
        let address = giver.address(true).unwrap();
        author.json(["peer", "connect", &address]).unwrap();
        author
            .json(["topic", "pub", "news", text, "--wait", "1m"])
            .unwrap();
    };
    publish(&other, "not for the news");
    until("it is not taken", || {
        giver.json(["topic", "ls"]).unwrap()["ignored"].as_u64() > Some(0)
    });
    publish(&web, "news");
    let heard = patience::output_of(listening).unwrap();
    let heard: Value = serde_json::from_slice(&heard.stdout).unwrap();
    assert_eq!(
        (&heard["text"], &heard["from"]),
        (&"news".into(), &web.peer_id().unwrap().into())
    );
}

#[test]
fn an_authority_signs_shows_and_takes_back_and_mistakes_are_told() {
    let authority = Authority::new();
    let home = &authority.home;
    assert!(authority.public.starts_with("ed25519:"));
    let again = home
        .json(["key", "show", "authority.key", "--authority"])
        .unwrap();
    assert_eq!(again["authority"], authority.public.as_str());
    let peer = text(&home.json(["key", "gen", "node.key"]).unwrap()["peer_id"]).to_owned();
    let file = home.path().join("m");
    let signed = authority.sign(
        &peer,
        &file,
        &["--groups", "web", "--for", "90d", "--network", "garden"],
    );
    let shown = home.json(["member", "show", "m"]).unwrap();
    for key in [
        "serial",
        "peer_id",
        "network",
        "groups",
        "from",
        "until",
        "authority",
    ] {
        assert_eq!(shown[key], signed[key], "{key}");
    }
    assert_eq!(
        (&shown["state"], &shown["network"]),
        (&"valid".into(), &"garden".into())
    );

    let sign = ["member", "sign", &peer, "--key", "authority.key"];
    let revoke = [
        "member",
        "revoke",
        "--key",
        "authority.key",
        "--network",
        "garden",
    ];
    let with = |command: &[&str], more: &[&str]| {
        let ended = home.run(command.iter().chain(more)).unwrap();
        (status(&ended), error(&ended))
    };
    assert_eq!(with(&sign, &["-o", "m"]).0, 8);
    assert_eq!(with(&sign, &["--groups", "a b"]).0, 2);
    assert_eq!(with(&sign, &["--for", "11w", "--network", "No"]).0, 2);
    assert_eq!(with(&sign, &["--for", "600w"]).0, 2);
    assert_eq!(with(&["member", "show"], &["none"]).0, 4);
    assert_eq!(with(&revoke, &["nothing"]).0, 4);
    let serial = text(&signed["serial"]);
    for (what, entries) in [(serial, 1), (&peer, 2), ("m", 2)] {
        assert_eq!(with(&revoke, &[what]).0, 0, "{what}");
        let list = home.json(["member", "show", "revocations"]).unwrap();
        let count = list["serials"].as_array().unwrap().len() + list["peers"].as_array().unwrap().len();
        assert_eq!(count, entries, "{list}");
    }
    let other = Authority::new();
    let file = home.path().join("other");
    other.sign(&peer, &file, &["--network", "garden"]);
    let (ended, said) = with(&revoke, &["other"]);
    assert!(ended == 2 && said.contains("another authority"), "{said}");
    let mut forged = fs::read(&file).unwrap();
    // Within the second line; the first says what this is.
    forged[80] = if forged[80] == b'A' { b'B' } else { b'A' };
    fs::write(&file, forged).unwrap();
    let (ended, said) = with(&["member", "show"], &["other"]);
    assert!(ended == 7 && said.contains("malformed or forged"), "{said}");
}

#[test]
fn the_check_names_line_and_remedy_for_certificates_and_keys() {
    let authority = Authority::new();
    let home = home();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let key = home.json(["key", "gen", &path("key")]).unwrap();
    let own = text(&key["peer_id"]).to_owned();
    let other = text(&home.json(["key", "gen", &path("other.key")]).unwrap()["peer_id"]).to_owned();
    let certificate = home.path().join("member");
    let check = |network: &str| {
        let text = format!(
            "[identity]\nkey_file = {:?}\n[network]\naccess = \"certified\"\n{network}",
            path("key")
        );
        fs::write(path("c.toml"), text).unwrap();
        let ended = home
            .run(["--config", &path("c.toml"), "config", "check"])
            .unwrap();
        (status(&ended), error(&ended))
    };
    let names = |certificate: &str| {
        format!(
            "authorities = [{:?}]\ncertificate_file = {certificate:?}\n",
            authority.public
        )
    };
    let good = names(&path("member"));
    authority.sign(&own, &certificate, &[]);
    assert_eq!(check(&good).0, 0, "{}", check(&good).1);
    let cases = [
        (
            other.as_str(),
            &[][..],
            "c.toml:6:1: network.certificate_file: ",
            "is another peer's; have one signed",
        ),
        (
            own.as_str(),
            &["--network", "yard"],
            "c.toml:6:1: ",
            "is for another network; set network.id",
        ),
    ];
    for (peer, options, place, told) in cases {
        authority.sign(peer, &certificate, options);
        let (ended, said) = check(&good);
        assert!(
            ended == 78 && said.contains(place) && said.contains(told),
            "{said}"
        );
        let started = home
            .run(["--config", &path("c.toml"), "--data-dir", &path("data"), "daemon"])
            .unwrap();
        let said = error(&started);
        assert!(
            status(&started) == 78 && said.contains(place) && said.contains(told),
            "{said}"
        );
    }
    Authority::new().sign(&own, &certificate, &[]);
    let (ended, said) = check(&good);
    assert!(
        ended == 78 && said.contains("network.authorities does not have"),
        "{said}"
    );
    let (ended, said) = check(&names("/nowhere/member"));
    assert!(
        ended == 78 && said.contains("/nowhere/member: No such file"),
        "{said}"
    );
    let (ended, said) = check("authorities = [\"ed25519:x\"]\n");
    assert!(
        ended == 78 && said.contains("c.toml:5:1") && said.contains("43 characters"),
        "{said}"
    );
    assert!(said.contains("network.certificate_file: is not set"), "{said}");
}

#[test]
fn authorities_are_exchanged_by_reloads() {
    let (old, new) = (Authority::new(), Authority::new());
    let [a, b] = [(); 2].map(|()| old.member(&[]).start().unwrap());
    // Who dials is done before who is dialled.
    let connect = || {
        b.json(["peer", "connect", &a.address(true).unwrap()]).unwrap();
        until("it is known there too", || peers(&a) == 1);
    };
    connect();
    for daemon in [&a, &b] {
        trust(daemon.path(), &[&old, &new]);
        let reloaded = daemon.json(["reload"]).unwrap();
        assert_eq!(reloaded["changes"][0]["key"], "network.authorities");
        assert_eq!(reloaded["restart"], false);
    }
    assert_eq!(peers(&a), 1);

    trust(a.path(), &[&new]);
    let refused = a.run(["reload"]).unwrap();
    assert_eq!(status(&refused), 78, "{}", error(&refused));
    assert!(
        error(&refused).contains("network.certificate_file"),
        "{}",
        error(&refused)
    );
    assert_eq!(peers(&a), 1);

    new.sign(&a.peer_id().unwrap(), &a.path().join("member"), &[]);
    a.json(["reload"]).unwrap();
    until("whose certificate the old one signed is parted from", || {
        peers(&a) == 0
    });
    new.sign(&b.peer_id().unwrap(), &b.path().join("member"), &[]);
    b.json(["reload"]).unwrap();
    // Both are members by the new one.
    connect();
}
