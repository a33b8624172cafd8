//! What quinn is told: keys, windows, limits, and how large a packet may be.
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use libp2p_identity::Keypair;
use quinn::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, MtuDiscoveryConfig, NoneTokenStore,
    ServerConfig, TransportConfig, ValidationTokenConfig, VarInt,
    crypto::{
        CryptoError, HmacKey,
        rustls::{QuicClientConfig, QuicServerConfig},
    },
};

use crate::{MAX_STREAMS, tls};

/// Unread bytes of one stream: above the largest answer of the transfer protocol.
const STREAM_WINDOW: u32 = 6 * 1024 * 1024;
/// Unread bytes of one connection: three times what is under way at 500 Mbit/s and 80 ms of round trip.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// Bytes of one connection that we keep until the peer has acknowledged them.
const SEND_WINDOW: u64 = 16 * 1024 * 1024;
/// After this time without a packet the path is taken for dead, and what was on it goes another way.
const IDLE: Duration = Duration::from_secs(10);
/// A packet is sent after this time without one: two may be lost before the path counts as dead.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// The largest payload of a datagram that is tried on loopback and on private networks. quinn sends ten at once,
/// and the kernel takes no more than 65,507 bytes in one call.
pub(super) const LARGE_DATAGRAM: u16 = 6_500;
/// Peers that have begun and whom nobody has answered yet; what is beyond them is turned away.
const MAX_INCOMING: usize = 256;
/// Bytes that one of them, and all of them, may have sent meanwhile.
const INCOMING_BYTES: (u64, u64) = (64 * 1024, 4 * 1024 * 1024);

/// The configurations of one node.
pub(super) struct Configs {
    /// Of a socket.
    pub(super) endpoint: EndpointConfig,
    near: Pair,
    far: Pair,
}

struct Pair {
    client: ClientConfig,
    server: Arc<ServerConfig>,
}

impl Configs {
    pub(super) fn new(key: &Keypair) -> Result<Self, tls::KeyError> {
        let (client, server) = tls::configurations(key)?;
        let lacks = |_| rustls::Error::General("QUIC begins with AES-128-GCM".to_owned());
        let client: Arc<QuicClientConfig> = Arc::new(client.try_into().map_err(lacks)?);
        let server: Arc<QuicServerConfig> = Arc::new(server.try_into().map_err(lacks)?);
        let pair = |largest| {
            let transport = Arc::new(transport(largest));
            Pair {
                client: client_config(client.clone(), transport.clone()),
                server: Arc::new(server_config(server.clone(), transport)),
            }
        };
        Ok(Self {
            endpoint: endpoint_config(key),
            near: pair(Some(LARGE_DATAGRAM)),
            far: pair(None),
        })
    }

    /// For a connection that we make to `remote`.
    pub(super) fn client(&self, remote: SocketAddr) -> ClientConfig {
        self.pair(remote).client.clone()
    }

    /// For a connection that `remote` makes to us.
    pub(super) fn server(&self, remote: SocketAddr) -> Arc<ServerConfig> {
        self.pair(remote).server.clone()
    }

    fn pair(&self, remote: SocketAddr) -> &Pair {
        if is_near(remote.ip()) {
            &self.near
        } else {
            &self.far
        }
    }
}

/// Whether `ip` may be on a link with larger frames than the Internet's, where trying costs no time.
fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

fn transport(largest: Option<u16>) -> TransportConfig {
    let mut sizes = MtuDiscoveryConfig::default();
    if let Some(largest) = largest {
        sizes.upper_bound(largest);
    }
    let idle = IDLE.try_into().expect("10 seconds are a QUIC duration");
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS as u32))
        // libp2p has neither.
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .mtu_discovery_config(Some(sizes))
        // It tells who watches the line how far away the peer is.
        .allow_spin(false);
    config
}

fn client_config(tls: Arc<QuicClientConfig>, transport: Arc<TransportConfig>) -> ClientConfig {
    let mut config = ClientConfig::new(tls);
    config
        .transport_config(transport)
        // Tokens are kept by name, and peers have none.
        .token_store(Arc::new(NoneTokenStore));
    config
}

fn server_config(tls: Arc<QuicServerConfig>, transport: Arc<TransportConfig>) -> ServerConfig {
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0);
    let (one, all) = INCOMING_BYTES;
    let mut config = ServerConfig::with_crypto(tls);
    config
        .transport_config(transport)
        .validation_token_config(tokens)
        // The swarm would have to hear of it.
        .migration(false)
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(one)
        .incoming_buffer_size_total(all);
    config
}

/// A node that is started again knows that it has forgotten a connection, and can prove it to the peer, who then
/// need not wait until it is idle for too long.
fn endpoint_config(key: &Keypair) -> EndpointConfig {
    let mut config = match key.derive_secret(b"cardume quic stateless reset") {
        Some(secret) => EndpointConfig::new(Arc::new(ResetKey(secret))),
        None => EndpointConfig::default(),
    };
    config
        .cid_generator(|| Box::new(Names))
        .supported_versions(vec![1])
        .max_udp_payload_size(LARGE_DATAGRAM)
        .expect("a datagram may have that size");
    config
}

/// Signs the tokens with which forgotten connections are ended.
struct ResetKey([u8; blake3::KEY_LEN]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], out: &mut [u8]) {
        out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // Compared in constant time.
        let good = blake3::keyed_hash(&self.0, data) == *signature;
        if good { Ok(()) } else { Err(CryptoError) }
    }
}

/// Names for connections, of which every one could be ours.
///
/// quinn's own way is to answer nothing to a packet for a name that this endpoint has not given out, which a
/// former life of the node may have done.
struct Names;

impl ConnectionIdGenerator for Names {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; Self::LEN]>())
    }

    fn cid_len(&self) -> usize {
        Self::LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

impl Names {
    /// Bytes of a name: a node has few enough connections that two never get the same one.
    const LEN: usize = 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_large_datagrams_fit_into_one_call() {
        assert!(10 * usize::from(LARGE_DATAGRAM) <= 65_507);
    }

    #[test]
    fn two_lives_of_a_node_sign_alike_and_two_nodes_do_not() {
        let sign = |key: &Keypair| {
            let mut out = [0; 32];
            ResetKey(key.derive_secret(b"test").unwrap()).sign(b"name", &mut out);
            out
        };
        let (one, other) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        assert_eq!(sign(&one), sign(&one));
        assert_ne!(sign(&one), sign(&other));
        let key = ResetKey([7; 32]);
        let mut signed = [0; 32];
        key.sign(b"name", &mut signed);
        assert!(key.verify(b"name", &signed).is_ok());
        assert!(key.verify(b"game", &signed).is_err());
    }
}
