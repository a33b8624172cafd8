//! Whole nodes in one process, over real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "a test says enough when it panics")]

use std::{fs, path::Path, time::Duration};

use cardume_content::{Cid, Hash};
use cardume_exchange::{Destination, FetchRequest};
use cardume_node::{Config, Node, StartError};
use tempfile::TempDir;
use tokio::time::timeout;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that listens on free loopback ports and hears nobody by itself.
fn quiet(home: &Path) -> Config {
    let mut config = Config::default();
    config.node.data_dir = Some(home.join("data"));
    config.control.listen = Some(format!("unix:{}", home.join("s").display()).into());
    config.listen.addresses = vec![
        "/ip4/127.0.0.1/tcp/0".parse().unwrap(),
        "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap(),
    ];
    config.mdns.enabled = false;
    config
}

async fn start(config: Config) -> Node {
    timeout(PATIENCE, Node::start(config))
        .await
        .expect("a node starts at once")
        .unwrap()
}

async fn listening(node: &Node) -> Vec<libp2p::Multiaddr> {
    let until = async {
        loop {
            let addresses = node.addresses().await.listen;
            if addresses.len() >= 2 {
                return addresses;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, until).await.expect("it listens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_configuration_shares_is_fetched_by_another_node_and_withdrawn_when_it_is_gone() {
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let bytes: Vec<u8> = (0..3_000_000u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    fs::write(a.path().join("film"), &bytes).unwrap();
    let cid = Cid::blob(Hash::of(&bytes));
    let mut sharing = quiet(a.path());
    let film = cardume_share::Config::new(a.path().join("film"));
    sharing.share.insert("films".into(), film);
    let giver = start(sharing).await;
    let taker = start(quiet(b.path())).await;

    let fetch = |node: &Node, peers, name: &str| {
        let destination = Destination::Path {
            path: b.path().join(name),
            force: false,
        };
        let mut request = FetchRequest::new(cid, destination);
        request.peers = peers;
        request.deadline = Some(Duration::from_secs(20));
        node.exchange().fetch(request)
    };
    let peers: Vec<_> = listening(&giver)
        .await
        .into_iter()
        .map(|a| a.with_p2p(giver.peer_id()).unwrap())
        .collect();
    timeout(PATIENCE, fetch(&taker, peers, "got").finished())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(fs::read(b.path().join("got")).unwrap(), bytes);
    giver.shutdown().await.unwrap();
    taker.shutdown().await.unwrap();

    let giver = start(quiet(a.path())).await;
    let removed = async {
        while giver.store().root(cid).unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, removed)
        .await
        .expect("a share that configuration no longer names is forgotten");
    giver.shutdown().await.unwrap();
}

/// The id of a share, as soon as it is another and everything about it is done.
async fn share_after(node: &Node, name: &str, before: Option<Cid>) -> Cid {
    let mut states = node.shares().follow();
    let changed = states.wait_for(|states| {
        states
            .get(name)
            .is_some_and(|share| share.phase == cardume_share::Phase::Shared && share.cid != before)
    });
    let states = timeout(PATIENCE, changed).await.expect("it changes").unwrap();
    states.get(name).unwrap().cid.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_shared_directory_that_changes_only_what_has_changed_is_fetched_again() {
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let films = a.path().join("films");
    fs::create_dir_all(films.join("old")).unwrap();
    fs::write(films.join("old/film"), vec![1; 2_000_000]).unwrap();
    fs::write(films.join("new"), vec![2; 100_000]).unwrap();
    let mut sharing = quiet(a.path());
    let mut share = cardume_share::Config::new(&films);
    share.settle = std::time::Duration::from_millis(50).into();
    sharing.share.insert("films".into(), share);
    let giver = start(sharing).await;
    let taker = start(quiet(b.path())).await;
    let peers: Vec<_> = listening(&giver)
        .await
        .into_iter()
        .map(|address| address.with_p2p(giver.peer_id()).unwrap())
        .collect();
    let get = async |cid: Cid, name: &str| {
        let path = b.path().join(name);
        let mut request = FetchRequest::new(cid, Destination::Path { path, force: false });
        request.peers = peers.clone();
        let fetched = timeout(PATIENCE, taker.exchange().fetch(request).finished());
        fetched.await.unwrap().unwrap()
    };
    let first = share_after(&giver, "films", None).await;
    assert!(get(first, "first").await.fetched >= 2_100_000);

    fs::write(films.join("new"), vec![3; 150_000]).unwrap();
    fs::rename(films.join("old"), films.join("renamed")).unwrap();
    let second = share_after(&giver, "films", Some(first)).await;
    let again = get(second, "second").await;
    assert!((150_000..200_000).contains(&again.fetched), "{}", again.fetched);
    assert_eq!(fs::read(b.path().join("second/new")).unwrap(), vec![3; 150_000]);
    assert_eq!(
        fs::read(b.path().join("second/renamed/film")).unwrap().len(),
        2_000_000
    );
    giver.shutdown().await.unwrap();
    taker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_on_the_same_directory_is_told_who_has_it() {
    let home = TempDir::new().unwrap();
    let first = start(quiet(home.path())).await;
    let Err(error) = Node::start(quiet(home.path())).await else {
        panic!("two nodes on one directory")
    };
    assert!(
        matches!(error, StartError::Locked { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    first.shutdown().await.unwrap();
    start(quiet(home.path())).await.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_named_with_the_key_that_asks_for_it() {
    for (address, taken) in [("tcp", true), ("udp", false)] {
        let home = TempDir::new().unwrap();
        let (tcp, udp) = (
            std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        let mut config = quiet(home.path());
        let wanted = match taken {
            true => format!("/ip4/127.0.0.1/tcp/{}", tcp.local_addr().unwrap().port()),
            false => format!("/ip4/127.0.0.1/udp/{}/quic-v1", udp.local_addr().unwrap().port()),
        };
        config.listen.addresses = vec![wanted.parse().unwrap()];
        let Err(error) = Node::start(config).await else {
            panic!("{address}: a port taken twice")
        };
        let error = error.to_string();
        assert!(
            error.contains("listen.addresses") && error.contains(&wanted),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_never_share_a_tcp_port() {
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let first = start(quiet(a.path())).await;
    let tcp = listening(&first)
        .await
        .into_iter()
        .find(|address| address.to_string().contains("/tcp/"))
        .unwrap();
    let mut config = quiet(b.path());
    config.listen.addresses = vec![tcp];
    assert!(matches!(
        Node::start(config).await,
        Err(StartError::Listen { .. })
    ));
    first.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_port_serves_both_families() {
    let home = TempDir::new().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut config = quiet(home.path());
    config.listen.addresses = [format!("/ip4/0.0.0.0/tcp/{port}"), format!("/ip6/::/tcp/{port}")]
        .map(|address| address.parse().unwrap())
        .to_vec();
    start(config).await.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_network_id_that_cannot_stand_in_a_protocol_name_is_refused() {
    for id in ["", "Upper", "with space", "a/b", &"x".repeat(33)] {
        let home = TempDir::new().unwrap();
        let mut config = quiet(home.path());
        config.network.id = id.into();
        let Err(error) = Node::start(config).await else {
            panic!("{id:?} was taken")
        };
        assert!(error.to_string().starts_with("network.id"), "{error}");
        assert!(!home.path().join("data").exists(), "nothing was made");
    }
}

/// What a node says of its wants, once `done` finds it so.
async fn wanted(home: &Path, done: impl Fn(&cardume_api::WantedFetch) -> bool) -> cardume_api::WantedFetch {
    let client = cardume_api::Client::from_address(&format!("unix://{}", home.join("s").display())).unwrap();
    let until = async {
        loop {
            let status = client.status().await.unwrap();
            if let Some(fetch) = status.fetches.first().filter(|fetch| done(fetch)) {
                return fetch.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, until).await.expect("it comes to that")
}

fn wants(home: &Path, from: String) -> Config {
    let mut config = quiet(home);
    let to = home.join("wanted");
    config.fetch.insert(
        "tree".into(),
        cardume_node::config::Fetch {
            from,
            to,
            allow: None,
        },
    );
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_configuration_wants_comes_is_adopted_and_is_never_overwritten() {
    use cardume_api::WantedState::{Failed, Present};
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::create_dir_all(a.path().join("tree/inner")).unwrap();
    fs::write(a.path().join("tree/inner/one"), vec![1; 2_000_000]).unwrap();
    fs::write(a.path().join("tree/two"), b"two").unwrap();
    let giver = start(quiet(a.path())).await;
    let imported = giver
        .store()
        .import(&a.path().join("tree"), cardume_store::Mode::InPlace, &())
        .unwrap();
    let peer = listening(&giver).await[0]
        .clone()
        .with_p2p(giver.peer_id())
        .unwrap();
    let link = format!("cardume:{}?p={peer}", imported.cid);

    let taker = start(wants(b.path(), link.clone())).await;
    let fetch = wanted(b.path(), |fetch| fetch.state == Present).await;
    assert_eq!(
        (fetch.done, fetch.size, fetch.problem),
        (2_000_003, 2_000_003, None)
    );
    assert_eq!(fs::read(b.path().join("wanted/two")).unwrap(), b"two");
    taker.shutdown().await.unwrap();
    giver.shutdown().await.unwrap();

    // Nobody is there to ask: what is there is taken as it is, even by a node that never saw it.
    let taker = start(wants(b.path(), link.clone())).await;
    wanted(b.path(), |fetch| fetch.state == Present).await;
    taker.shutdown().await.unwrap();

    fs::write(b.path().join("wanted/two"), b"mine").unwrap();
    let taker = start(wants(b.path(), link.clone())).await;
    let fetch = wanted(b.path(), |fetch| fetch.state == Failed).await;
    let problem = fetch.problem.unwrap();
    assert!(problem.contains("wanted/two has other content"), "{problem}");
    assert_eq!(fs::read(b.path().join("wanted/two")).unwrap(), b"mine");
    taker.shutdown().await.unwrap();

    // What is gone comes again, once somebody has it.
    fs::remove_dir_all(b.path().join("wanted")).unwrap();
    let giver = start(quiet(a.path())).await;
    let peer = listening(&giver).await[0]
        .clone()
        .with_p2p(giver.peer_id())
        .unwrap();
    let taker = start(wants(b.path(), format!("cardume:{}?p={peer}", imported.cid))).await;
    wanted(b.path(), |fetch| fetch.state == Present).await;
    assert_eq!(fs::read(b.path().join("wanted/two")).unwrap(), b"two");
    taker.shutdown().await.unwrap();

    // Wanted no longer: it stays.
    let taker = start(quiet(b.path())).await;
    assert!(b.path().join("wanted/inner/one").exists());
    assert_eq!(taker.store().roots().unwrap().len(), 1);
    taker.shutdown().await.unwrap();
    giver.shutdown().await.unwrap();
}
