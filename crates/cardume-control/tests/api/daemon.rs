//! A node without a swarm, and callers that speak to it byte by byte.
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use cardume_api::{Client, NewToken, Problem, Scope};
use cardume_control::{Config, Handles, Metrics, NodeInfo};
use cardume_store::Store;
use libp2p_identity::Keypair;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Nothing here takes longer, unless it hangs.
const GUARD: Duration = Duration::from_secs(60);

pub(crate) struct Daemon {
    pub(crate) directory: TempDir,
    pub(crate) socket: PathBuf,
    pub(crate) metrics: SocketAddr,
    /// Where the API is served over TCP.
    pub(crate) port: SocketAddr,
    pub(crate) client: Client,
    pub(crate) store: Store,
    /// Cancelled when a caller asks the node to stop.
    pub(crate) stop: CancellationToken,
    door: CancellationToken,
    serving: JoinHandle<()>,
    work: CancellationToken,
    working: JoinHandle<()>,
}

impl Daemon {
    pub(crate) async fn start() -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), |config| config).await
    }

    /// A node whose state is in `directory`, configured in a way of its own.
    pub(crate) async fn start_with(directory: TempDir, how: impl FnOnce(Config) -> Config) -> Self {
        let home = directory.path().to_owned();
        let key = Keypair::generate_ed25519();
        let local = key.public().to_peer_id();
        let database = Arc::new(redb::Database::create(home.join("db")).unwrap());
        let store_config = cardume_store::Config::default();
        let store = Store::open(&home.join("store"), database.clone(), &store_config).unwrap();
        // Without their behaviours the handles answer that the swarm is closed.
        let (_, connect, _) = cardume_connect::Config::default()
            .build(
                &key,
                "test",
                "test/1".into(),
                &BTreeMap::new(),
                vec![],
                home.join("peers"),
            )
            .unwrap();
        let nas = Keypair::generate_ed25519().public().to_peer_id();
        let names = cardume_access::Names::new([("nas", nas, ["home"])]).unwrap();
        let roll = cardume_access::Roll::new(names);
        let (rates, keeper) = cardume_transfer::rates::Config::default().build();
        let (_, transfer, inbound) = cardume_transfer::Config::default().build("test", rates.clone());
        let kad = cardume_kad::Handle::closed();
        let (_, _, membership, _) = cardume_membership::Config::default()
            .build(local, cardume_access::Roll::default(), home.join("revocations"))
            .unwrap();
        let (exchange, exchange_server) = cardume_exchange::Config::default().build(
            store.clone(),
            transfer.clone(),
            inbound,
            kad.clone(),
            connect.clone(),
            local,
            database.clone(),
            roll.clone(),
        );
        let files = cardume_channel::KeyFiles {
            load: |path| {
                let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
                Keypair::from_protobuf_encoding(&bytes).map_err(|error| error.to_string())
            },
            create: |path| {
                let key = Keypair::generate_ed25519();
                std::fs::write(path, key.to_protobuf_encoding().unwrap()).unwrap();
                Ok(key)
            },
        };
        let (channels, _) = cardume_channel::build(
            &BTreeMap::new(),
            &BTreeMap::new(),
            &home.join("channels"),
            files,
            database,
            kad.clone(),
            cardume_gossipsub::Handle::closed(),
            cardume_channel::Counts::default(),
        )
        .unwrap();
        let (_, tunnels, _) = cardume_tunnel::build(
            &BTreeMap::new(),
            "test",
            roll.clone(),
            Arc::new(|_| Box::pin(async { Ok(()) })),
        );
        let stop = CancellationToken::new();
        let node = NodeInfo {
            peer_id: local,
            name: "tester".into(),
            version: "0.0.0".into(),
            data_dir: home.clone(),
            network: "test".into(),
            in_place: true,
        };
        let facts = cardume_control::Facts {
            memory_ceiling: 1 << 30,
            shares: vec![],
        };
        let (configuration, _) =
            cardume_control::Configuration::new(serde_json::json!({"node": {"name": "tester"}}), facts);
        let handles = Handles {
            roll,
            connect,
            kad,
            nat: cardume_nat::Handle::closed(),
            rendezvous: cardume_rendezvous::Handle::closed(),
            traffic: cardume_transport::Traffic::new("main"),
            membership,
            transfer,
            rates,
            exchange,
            shares: cardume_share::Handle::none(),
            topics: cardume_topic::Handle::closed(store.clone()),
            tunnels,
            store: store.clone(),
            wanted: cardume_control::Wanted::default(),
            channels,
            follows: cardume_control::Follows::default(),
            configuration,
            log: cardume_control::Log::default(),
            doctor: cardume_control::Doctor::default(),
            stop: stop.clone(),
        };
        let metrics = Metrics {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        };
        let config = how(Config {
            listen: Some("127.0.0.1:0".into()),
            hosts: vec!["node.example".into()],
            ..Config::default()
        });
        let server = config
            .build(home.join("run/c.sock"), None, &metrics, node, handles)
            .unwrap();
        let socket = server.socket().to_owned();
        let metrics = server.metrics().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let port = server.ports().first().copied().unwrap_or(nowhere);
        let (door, work) = (CancellationToken::new(), CancellationToken::new());
        let door_to_close = door.clone();
        Self {
            client: Client::from_address(&format!("unix://{}", socket.display())).unwrap(),
            serving: tokio::spawn(async move {
                let _keeper = keeper;
                server.run(door_to_close, Duration::from_secs(3)).await;
            }),
            working: tokio::spawn(exchange_server.run(work.clone())),
            directory,
            socket,
            metrics,
            port,
            store,
            stop,
            door,
            work,
        }
    }

    /// A file of the node's user with these bytes.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Stops the door and then the work behind it, as a node does.
    pub(crate) async fn stop(self) -> TempDir {
        self.door.cancel();
        within(self.serving).await.unwrap();
        self.work.cancel();
        within(self.working).await.unwrap();
        self.directory
    }

    /// Sends bytes on a connection of its own, and reads until the node closes it.
    pub(crate) async fn raw(&self, request: &str) -> Answer {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        // The node may answer and close before it has read all.
        let _ = stream.write_all(request.as_bytes()).await;
        Answer::read(stream).await
    }

    /// The same as [`request`](Self::request), over TCP.
    pub(crate) async fn remote(&self, method: &str, target: &str, fields: &str) -> Answer {
        let host = self.port.to_string();
        self.remote_raw(&format!(
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{fields}\r\n"
        ))
        .await
    }

    /// The same as [`raw`](Self::raw), over TCP.
    pub(crate) async fn remote_raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.port).await.unwrap();
        let _ = stream.write_all(request.as_bytes()).await;
        Answer::read(stream).await
    }

    /// The secret of a token that was just made.
    pub(crate) async fn token(&self, name: &str, scopes: &[Scope], expires_s: Option<u64>) -> String {
        let new = NewToken {
            name: name.into(),
            scopes: scopes.to_vec(),
            expires_s,
        };
        self.client.new_token(&new).await.unwrap().secret
    }

    /// A request with these fields, `\r\n` after each, and no body.
    pub(crate) async fn request(&self, method: &str, target: &str, fields: &str) -> Answer {
        self.raw(&format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n"
        ))
        .await
    }
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(GUARD, future)
        .await
        .expect("it does not hang")
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) async fn read(mut stream: impl AsyncRead + Unpin) -> Self {
        let mut bytes = Vec::new();
        within(stream.read_to_end(&mut bytes)).await.unwrap();
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        Self {
            status: head
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok())
                .unwrap_or(0),
            head,
            body: bytes.get(end + 4..).unwrap_or_default().to_vec(),
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn problem(&self) -> Problem {
        assert_eq!(self.field("content-type"), Some(Problem::MEDIA_TYPE), "{self:?}");
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status);
        problem
    }
}
