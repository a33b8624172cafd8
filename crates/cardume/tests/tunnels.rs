//! Services reached through daemons.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

use cardume_testkit::{
    daemon::{Daemon, Home, error, status},
    files::random_file,
    patience::{self, PATIENCE},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

fn home() -> Home {
    Home::new(PROGRAM).unwrap().set("mdns.enabled=false")
}

/// A daemon with its configuration in a file.
fn configured(home: Home, text: &str) -> Daemon {
    write(home.path(), text);
    let config = home.path().join("cardume.toml");
    home.config(config).start().unwrap()
}

fn write(home: &Path, text: &str) {
    fs::write(home.join("cardume.toml"), text).unwrap();
}

/// A service that says what it is told.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut back = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut stream, &mut back);
                let _ = back.shutdown(Shutdown::Write);
            });
        }
    });
    at
}

/// One that answers datagrams with themselves.
fn udp_echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    at
}

/// Says something, ends its half, and reads to the end; nothing where nobody answers.
fn ask(at: &str, text: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let text = text.to_owned();
    let saying = thread::spawn(move || {
        let _ = writer.write_all(&text);
        let _ = writer.shutdown(Shutdown::Write);
    });
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    saying.join().unwrap();
    answer
}

/// A datagram until its answer comes: any may be lost.
fn ask_by_datagram(at: &str, text: &[u8]) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.connect(at).unwrap();
    let mut buffer = [0; 2048];
    patience::until("a datagram comes back", || {
        socket.send(text)?;
        Ok(socket
            .recv(&mut buffer)
            .is_ok_and(|length| buffer[..length] == *text))
    })
    .unwrap();
}

fn peer(name: &str, of: &Daemon) -> String {
    let (id, address) = (of.peer_id().unwrap(), of.address(true).unwrap());
    format!("[peer.{name}]\nid = {id:?}\naddresses = [{address:?}]\n")
}

/// Where a daemon listens in a peer's stead.
fn listening(daemon: &Daemon, name: &str) -> String {
    let mut at = String::new();
    patience::until("it listens", || {
        let listed = daemon.run(["--json", "tunnel", "ls"])?;
        let listed = String::from_utf8(listed.stdout)?;
        for line in listed.lines() {
            let tunnel: serde_json::Value = serde_json::from_str(line)?;
            if tunnel["name"] == name && tunnel["state"] == "ready" {
                at = tunnel["listen"].as_str().unwrap_or_default().to_owned();
            }
        }
        Ok(!at.is_empty())
    })
    .unwrap();
    at
}

#[test]
fn services_of_a_configured_peer_are_reached_and_it_need_not_be_there_before() {
    let there = home().start().unwrap();
    let here = configured(
        home(),
        &format!(
            "{}[tunnel.web]\nrole = \"forward\"\nlisten = \"127.0.0.1:0\"\npeer = \"there\"\n\
             [tunnel.names]\nrole = \"forward\"\nprotocol = \"udp\"\nlisten = \"127.0.0.1:0\"\npeer = \"there\"\nservice = \"dns\"\n",
            peer("there", &there)
        ),
    );
    // Nothing is exposed there yet.
    let web = listening(&here, "web");
    assert_eq!(ask(&web, b"hello"), b"");
    let expose = |name: &str, target: SocketAddr, more: &[&str]| {
        let (target, id) = (target.to_string(), here.peer_id().unwrap());
        let arguments = ["tunnel", "expose", name, &target, "--allow", &id];
        let exposed = there.run(arguments.iter().chain(more)).unwrap();
        assert_eq!(status(&exposed), 0, "{}", error(&exposed));
    };
    expose("web", echo(), &[]);
    expose("dns", udp_echo(), &["--udp"]);
    random_file(&here.path().join("film"), 5_000_000, 7).unwrap();
    let film = fs::read(here.path().join("film")).unwrap();
    assert!(ask(&web, &film) == film);
    ask_by_datagram(&listening(&here, "names"), b"who is it?");
    let numbers = here.json(["net", "traffic"]).unwrap().to_string();
    assert!(numbers.contains("\"tunnel\""), "{numbers}");

    // The peer is another process, and at another port, when it comes back.
    let closed = there.run(["tunnel", "close", "web"]).unwrap();
    assert_eq!(status(&closed), 0, "{}", error(&closed));
    assert_eq!(ask(&web, b"hello"), b"");
    let listed = here.run(["tunnel", "ls"]).unwrap();
    assert!(error(&listed).contains("no such service"), "{}", error(&listed));
}

#[test]
fn a_reload_opens_and_closes_them_and_ends_what_is_for_a_peer_no_more() {
    let here = home().start().unwrap();
    let service = echo();
    let exposed = |allow: &str| {
        format!(
            "[peer.laptop]\nid = {:?}\n[tunnel.echo]\nrole = \"expose\"\ntarget = \"{service}\"\nallow = [{allow}]\n",
            here.peer_id().unwrap()
        )
    };
    let there = configured(home(), &exposed("\"laptop\""));
    let address = there.address(true).unwrap();
    here.json(["peer", "connect", &address]).unwrap();
    let id = there.peer_id().unwrap();
    let opened = here.json(["tunnel", "open", &id, "echo"]).unwrap();
    let at = opened["listen"].as_str().unwrap();
    assert_eq!(ask(at, b"hello"), b"hello");
    let mut held = TcpStream::connect(at).unwrap();
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    held.write_all(b"x").unwrap();
    let mut byte = [0];
    held.read_exact(&mut byte).unwrap();

    let reload = |text: &str| {
        write(there.path(), text);
        let plan = there.json(["reload"]).unwrap();
        assert_eq!(plan["restart"], false, "{plan}");
    };
    reload(&exposed(""));
    assert!(held.read_exact(&mut byte).is_err(), "it is cut");
    assert_eq!(ask(at, b"hello"), b"");
    let denied = there.json(["status"]).unwrap()["denied"]["tunnel"].as_u64();
    assert_eq!(denied, Some(1));
    reload(&exposed("\"laptop\""));
    assert_eq!(ask(at, b"hello"), b"hello");
    reload("");
    assert_eq!(ask(at, b"hello"), b"");
    let connection = here.connection(&id).unwrap();
    assert!(connection.is_object(), "the connection has stayed");
}

#[test]
fn mistakes_in_tunnels_are_told_with_their_places() {
    let home = home();
    write(
        home.path(),
        "[tunnel.a]\nrole = \"expose\"\ntarget = \"localhost:22\"\nallow = []\n",
    );
    let config = home.path().join("cardume.toml");
    let check = || {
        let mut command = home.command();
        command.args(["config", "check", "--config"]).arg(&config);
        patience::output(&mut command).unwrap()
    };
    let output = check();
    assert_eq!(status(&output), 78);
    assert!(error(&output).contains("cardume.toml:3:10"), "{}", error(&output));
    write(
        home.path(),
        "[tunnel.a]\nrole = \"expose\"\ntarget = \"169.254.169.254:80\"\nallow = [\"nobody\"]\n\
         [tunnel.b]\nrole = \"forward\"\nlisten = \"127.0.0.1:8080\"\npeer = \"nobody\"\ntarget = \"127.0.0.1:1\"\n\
         [tunnel.c]\nrole = \"forward\"\nlisten = \"127.0.0.1:8080\"\n",
    );
    let output = check();
    let said = error(&output);
    for place in [
        "cardume.toml:3:1: tunnel.a.target",
        "cardume.toml:4:1: tunnel.a.allow",
        "cardume.toml:8:1: tunnel.b.peer",
        "cardume.toml:9:1: tunnel.b.target",
        "cardume.toml:10:9: tunnel.c.peer",
        "[tunnel.b] listens there too",
    ] {
        assert!(said.contains(place), "{place}: {said}");
    }
}
