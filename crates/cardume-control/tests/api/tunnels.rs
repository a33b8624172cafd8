//! Tunnels, asked for by who may.
use cardume_api::{Client, Code, NewTunnel, Scope, TunnelProtocol, TunnelRole, TunnelState};

use crate::daemon::Daemon;

fn exposed(name: &str, target: &str, allow: &[&str]) -> NewTunnel {
    NewTunnel {
        name: name.into(),
        role: TunnelRole::Expose,
        protocol: TunnelProtocol::Tcp,
        target: Some(target.into()),
        allow: Some(allow.iter().map(|word| (*word).to_owned()).collect()),
        listen: None,
        peer: None,
        service: None,
    }
}

#[tokio::test]
async fn a_tunnel_is_opened_seen_and_closed() {
    let daemon = Daemon::start().await;
    let made = daemon
        .client
        .open_tunnel(&exposed("ssh", "127.0.0.1:22", &["nas"]))
        .await;
    let made = made.unwrap();
    assert_eq!((made.state, made.configured), (TunnelState::Ready, false));
    assert_eq!(daemon.client.tunnels().await.unwrap(), [made]);
    let again = daemon
        .client
        .open_tunnel(&exposed("ssh", "127.0.0.1:23", &["nas"]))
        .await;
    assert_eq!(again.unwrap_err().code(), Some(Code::Conflict));
    daemon.client.close_tunnel("ssh").await.unwrap();
    assert_eq!(daemon.client.tunnels().await.unwrap(), []);
    let gone = daemon.client.close_tunnel("ssh").await.unwrap_err();
    assert_eq!(gone.code(), Some(Code::NotFound));
    daemon.stop().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_the_key() {
    let daemon = Daemon::start().await;
    for (tunnel, key) in [
        (exposed("a b", "127.0.0.1:22", &[]), "name"),
        (exposed("a", "localhost:22", &[]), "target"),
        (exposed("a", "169.254.169.254:80", &[]), "target"),
        (exposed("a", "127.0.0.1:22", &["nobody"]), "allow"),
        (
            NewTunnel {
                allow: None,
                ..exposed("a", "127.0.0.1:22", &[])
            },
            "allow",
        ),
        (
            NewTunnel {
                role: TunnelRole::Forward,
                target: None,
                allow: None,
                listen: Some("127.0.0.1:0".into()),
                peer: Some("nobody".into()),
                ..exposed("a", "", &[])
            },
            "peer",
        ),
    ] {
        let error = daemon.client.open_tunnel(&tunnel).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::Usage), "{error}");
        assert!(error.to_string().contains(key), "{key}: {error}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn tunnels_take_their_scope_and_sockets_an_admin() {
    let daemon = Daemon::start().await;
    let remote = async |scope| {
        let secret = daemon
            .token(&format!("{scope:?}").to_lowercase(), &[scope], None)
            .await;
        let remote = Client::from_address(&format!("http://{}", daemon.port)).unwrap();
        remote.with_token(secret)
    };
    let (reader, opener, admin) = (
        remote(Scope::Read).await,
        remote(Scope::Tunnels).await,
        remote(Scope::Admin).await,
    );
    let tcp = exposed("tcp", "127.0.0.1:22", &["nas"]);
    let socket = exposed("socket", "unix:/run/service.sock", &["nas"]);
    let code = |answer: Result<_, cardume_api::ClientError>| answer.err().and_then(|error| error.code());
    assert_eq!(code(reader.open_tunnel(&tcp).await), Some(Code::Denied));
    assert_eq!(code(opener.open_tunnel(&tcp).await), None);
    assert_eq!(code(opener.open_tunnel(&socket).await), Some(Code::Denied));
    assert_eq!(code(admin.open_tunnel(&socket).await), None);
    assert_eq!(reader.tunnels().await.unwrap().len(), 2);
    assert_eq!(
        reader.close_tunnel("tcp").await.unwrap_err().code(),
        Some(Code::Denied)
    );
    opener.close_tunnel("tcp").await.unwrap();
    daemon.stop().await;
}
