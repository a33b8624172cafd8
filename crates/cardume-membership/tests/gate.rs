//! Swarms behind the gate, on the node's own transports over loopback.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cardume_access::Roll;
use cardume_membership::{
    Access, Armored as _, Authority, Behaviour, Certificate, Config, Handle, RevocationList, Revoked, Serial,
    Server, Terms,
};
use cardume_transport::Timeouts;
use futures::StreamExt as _;
use libp2p_core::Multiaddr;
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{Swarm, SwarmEvent, dial_opts::DialOpts};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

/// Nothing here takes as long, unless it never comes.
const GUARD: Duration = Duration::from_secs(60);
const TRANSPORTS: [&str; 2] = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"];

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn terms(peer: PeerId) -> Terms {
    Terms {
        network: "garden".into(),
        peer,
        groups: ["web".to_owned()].into(),
        from: now() - 1_000,
        until: now() + 1_000,
        serial: Serial::random(),
    }
}

/// A peer that is to be, with its certificate in a file.
struct Papers {
    key: Keypair,
    certificate: Certificate,
    home: TempDir,
    authorities: Vec<String>,
}

impl Papers {
    fn new(authority: &Keypair, change: impl FnOnce(&mut Terms)) -> Self {
        let key = Keypair::generate_ed25519();
        let mut terms = terms(key.public().to_peer_id());
        change(&mut terms);
        let certificate = Certificate::sign(terms, authority).unwrap();
        let home = TempDir::new().unwrap();
        fs::write(home.path().join("certificate"), certificate.armor()).unwrap();
        Self {
            key,
            certificate,
            home,
            authorities: vec![Authority::of(authority).unwrap().to_string()],
        }
    }

    fn trusting(mut self, authority: &Keypair) -> Self {
        self.authorities
            .push(Authority::of(authority).unwrap().to_string());
        self
    }

    fn config(&self) -> Config {
        Config {
            id: "garden".into(),
            access: Access::Certified,
            authorities: self.authorities.clone(),
            certificate_file: Some(self.home.path().join("certificate").to_str().unwrap().to_owned()),
            revocations_file: Some(self.home.path().join("revocations")),
        }
    }

    /// Puts a list where the node reads it.
    fn put(&self, list: &RevocationList) {
        fs::write(self.home.path().join("revocations"), list.armor()).unwrap();
    }
}

#[derive(Debug)]
enum Heard {
    Connected(PeerId),
    Closed(PeerId),
    Failed(String),
}

/// A swarm behind a gate, that turns until it is dropped.
struct Member {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    handle: Handle,
    roll: Roll,
    dials: mpsc::Sender<(PeerId, Multiaddr)>,
    heard: mpsc::Receiver<Heard>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Member {
    async fn start(papers: &Papers) -> Self {
        let peer = papers.key.public().to_peer_id();
        let roll = Roll::default();
        let known = papers.home.path().join("known");
        let built = papers.config().build(peer, roll.clone(), known).unwrap();
        let (gate, behaviour, handle, server) = built;
        let timeouts = Timeouts {
            dial: GUARD,
            accept: GUARD,
        };
        let transport = gate.guard(cardume_transport::build(&papers.key, timeouts).unwrap());
        let config = libp2p_swarm::Config::with_tokio_executor().with_idle_connection_timeout(GUARD);
        let mut swarm = Swarm::new(transport, behaviour.unwrap(), peer, config);
        let mut addresses = Vec::new();
        for at in TRANSPORTS {
            swarm.listen_on(at.parse().unwrap()).unwrap();
            addresses.push(listening(&mut swarm).await);
        }
        let (dials, asked) = mpsc::channel(8);
        let (tell, heard) = mpsc::channel(64);
        let server: Server = server.unwrap();
        let tasks = vec![
            tokio::spawn(server.run(std::future::pending::<()>())),
            tokio::spawn(turn(swarm, asked, tell)),
        ];
        Self {
            peer,
            addresses,
            handle,
            roll,
            dials,
            heard,
            tasks,
        }
    }

    async fn hears(&mut self) -> Heard {
        timeout(GUARD, self.heard.recv()).await.unwrap().unwrap()
    }

    async fn dial(&mut self, other: &Member, address: &Multiaddr) -> Heard {
        self.dials.send((other.peer, address.clone())).await.unwrap();
        self.hears().await
    }

    async fn meets(&mut self, other: &mut Member) {
        let address = other.addresses[0].clone();
        assert!(matches!(self.dial(other, &address).await, Heard::Connected(peer) if peer == other.peer));
        assert!(matches!(other.hears().await, Heard::Connected(peer) if peer == self.peer));
    }

    fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.handle.refusals().collect()
    }
}

async fn listening(swarm: &mut Swarm<Behaviour>) -> Multiaddr {
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

async fn turn(
    mut swarm: Swarm<Behaviour>,
    mut asked: mpsc::Receiver<(PeerId, Multiaddr)>,
    tell: mpsc::Sender<Heard>,
) {
    loop {
        tokio::select! {
            Some((peer, address)) = asked.recv() => {
                swarm.dial(DialOpts::peer_id(peer).addresses(vec![address]).build()).unwrap();
            }
            event = swarm.select_next_some() => {
                let heard = match event {
                    SwarmEvent::ConnectionEstablished { peer_id, .. } => Heard::Connected(peer_id),
                    SwarmEvent::ConnectionClosed { peer_id, .. } => Heard::Closed(peer_id),
                    SwarmEvent::OutgoingConnectionError { error, .. } => Heard::Failed(format!("{error:?}")),
                    SwarmEvent::IncomingConnectionError { error, .. } => Heard::Failed(format!("{error:?}")),
                    _ => continue,
                };
                tell.send(heard).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn members_meet_over_each_transport_and_are_in_the_groups_of_their_certificates() {
    let authority = Keypair::generate_ed25519();
    let a = Papers::new(&authority, |_| {});
    let mut a = Member::start(&a).await;
    for address in 0..TRANSPORTS.len() {
        let papers = Papers::new(&authority, |_| {});
        let mut other = Member::start(&papers).await;
        let address = a.addresses[address].clone();
        let met = other.dial(&a, &address).await;
        assert!(matches!(met, Heard::Connected(peer) if peer == a.peer), "{met:?}");
        assert!(matches!(a.hears().await, Heard::Connected(peer) if peer == other.peer));
        for (member, peer) in [(&a, other.peer), (&other, a.peer)] {
            assert!(member.roll.groups(&peer, SystemTime::now()).contains("web"));
            assert!(member.refusals().is_empty());
        }
        drop(other);
        assert!(matches!(a.hears().await, Heard::Closed(_)));
    }
}

#[tokio::test]
async fn who_shows_no_good_certificate_is_refused_and_told_why() {
    let authority = Keypair::generate_ed25519();
    let good = Papers::new(&authority, |_| {});
    let list = {
        let revoked = Papers::new(&authority, |_| {});
        let list = [Revoked::Certificate(Box::new(revoked.certificate.clone()))];
        let list = RevocationList::sign("garden", None, &list, &authority, SystemTime::now()).unwrap();
        good.put(&list);
        revoked
    };
    let impostor = Keypair::generate_ed25519();
    let cases = [
        ("Revoked", "revoked", list),
        (
            "Expired",
            "expired",
            Papers::new(&authority, |terms| terms.until = now() - 10),
        ),
        (
            "NotYet",
            "not_yet",
            Papers::new(&authority, |terms| terms.from = now() + 900),
        ),
        (
            "UnknownAuthority",
            "unknown_authority",
            Papers::new(&impostor, |_| {}).trusting(&authority),
        ),
    ];
    let mut good = Member::start(&good).await;
    for (reason, word, papers) in cases {
        let mut bad = Member::start(&papers).await;
        for address in good.addresses.clone() {
            let before = good.refusals().into_iter().find(|(said, _)| *said == word);
            let Heard::Failed(error) = bad.dial(&good, &address).await else {
                panic!("{reason} got in at {address}");
            };
            assert!(
                error.contains(&format!("ByOther({reason})")),
                "{reason} at {address}: {error}"
            );
            assert!(matches!(good.hears().await, Heard::Failed(error) if error.contains(reason)));
            let after = good.refusals().into_iter().find(|(said, _)| *said == word);
            assert_eq!(after.unwrap().1, before.map_or(0, |(_, count)| count) + 1);
        }
        // And the good one does not stay with the bad one either.
        let address = bad.addresses[0].clone();
        let Heard::Failed(error) = good.dial(&bad, &address).await else {
            panic!("{reason} was gone to");
        };
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn while_keys_are_changed_certificates_of_both_authorities_are_good() {
    let [old, new] = [(); 2].map(|()| Keypair::generate_ed25519());
    let a = Papers::new(&old, |_| {}).trusting(&new);
    let b = Papers::new(&new, |_| {}).trusting(&old);
    let (mut a, mut b) = (Member::start(&a).await, Member::start(&b).await);
    a.meets(&mut b).await;
}

#[tokio::test]
async fn a_revocation_is_passed_on_and_cuts_its_peer_off_wherever_it_is() {
    let authority = Keypair::generate_ed25519();
    let papers = [(); 4].map(|()| Papers::new(&authority, |_| {}));
    let list = [Revoked::Peer(papers[3].key.public().to_peer_id())];
    let list = RevocationList::sign("garden", None, &list, &authority, SystemTime::now()).unwrap();
    let mut a = Member::start(&papers[0]).await;
    let mut b = Member::start(&papers[1]).await;
    let mut c = Member::start(&papers[2]).await;
    let mut revoked = Member::start(&papers[3]).await;
    a.meets(&mut b).await;
    b.meets(&mut c).await;
    revoked.meets(&mut c).await;
    // Only a has the file; b is told by a, and c by b.
    papers[0].put(&list);
    assert!(matches!(c.hears().await, Heard::Closed(peer) if peer == revoked.peer));
    assert!(c.roll.groups(&revoked.peer, SystemTime::now()).is_empty());
    for member in [&a, &b, &c] {
        assert_eq!(member.handle.revocations()[0].number(), list.number());
    }
    // The connections of the others go on, and a restart knows it.
    let address = c.addresses[0].clone();
    assert!(matches!(revoked.hears().await, Heard::Closed(_)));
    assert!(matches!(revoked.dial(&c, &address).await, Heard::Failed(_)));
    assert!(matches!(c.hears().await, Heard::Failed(_)));
    let kept = || fs::read_to_string(papers[2].home.path().join("known")).unwrap_or_default();
    while RevocationList::unarmor(&kept()).map_or(0, |lists| lists.len()) == 0 {
        tokio::task::yield_now().await;
    }
    drop(c);
    let again = Member::start(&papers[2]).await;
    assert_eq!(again.handle.revocations()[0].number(), list.number());
}

#[tokio::test]
async fn a_certificate_that_ends_ends_the_connection_and_a_new_one_counts_without_a_restart() {
    let authority = Keypair::generate_ed25519();
    let lasting = Papers::new(&authority, |_| {});
    let ending = Papers::new(&authority, |terms| terms.until = now() + 3);
    let (mut a, mut b) = (Member::start(&lasting).await, Member::start(&ending).await);
    b.meets(&mut a).await;
    assert!(b.handle.own().unwrap().ends_soon);
    assert!(matches!(a.hears().await, Heard::Closed(peer) if peer == b.peer));
    assert!(matches!(b.hears().await, Heard::Closed(_)));
    let renewed = Certificate::sign(terms(b.peer), &authority).unwrap();
    replace(&ending.home.path().join("certificate"), &renewed.armor());
    while b.handle.own().unwrap().flaw.is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    b.meets(&mut a).await;
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn what_a_node_could_not_live_with_is_found_before_it_starts() {
    let [authority, other] = [(); 2].map(|()| Keypair::generate_ed25519());
    let papers = Papers::new(&authority, |_| {});
    let local = papers.key.public().to_peer_id();
    let good = papers.config();
    let good = Config {
        revocations_file: None,
        ..good
    };
    assert!(good.check(Some(local)).is_empty() && good.check(None).is_empty());
    let found = |config: &Config, peer| {
        let found = config.check(peer);
        assert_eq!(found.len(), 1, "{found:?}");
        (found[0].key(), found[0].to_string())
    };
    let stranger = Some(PeerId::random());
    let (key, reason) = found(&good, stranger);
    assert!(
        key == "network.certificate_file" && reason.contains("another peer's"),
        "{reason}"
    );
    let yard = Config {
        id: "yard".into(),
        ..good.clone()
    };
    assert!(found(&yard, None).1.contains("another network"));
    let untrusted = Config {
        authorities: vec![Authority::of(&other).unwrap().to_string()],
        ..good.clone()
    };
    assert!(
        found(&untrusted, None)
            .1
            .contains("network.authorities does not have")
    );
    let nobody = Config {
        authorities: vec![],
        ..good.clone()
    };
    assert_eq!(found(&nobody, None).0, "network.authorities");
    let misspelt = Config {
        authorities: vec!["ed25519:short".into()],
        ..good.clone()
    };
    assert!(found(&misspelt, None).1.contains("43 characters"));
    let missing = Config {
        certificate_file: Some("/nowhere/at/all".into()),
        ..good.clone()
    };
    assert!(found(&missing, None).1.contains("/nowhere/at/all"));
    let none = Config {
        certificate_file: None,
        ..good.clone()
    };
    assert_eq!(found(&none, None).0, "network.certificate_file");
    let file = papers.home.path().join("authorities");
    fs::write(&file, format!("# ours\n{}\n", good.authorities[0])).unwrap();
    let from_file = Config {
        authorities: vec![file.to_str().unwrap().to_owned()],
        ..good
    };
    assert!(from_file.check(Some(local)).is_empty());
}
