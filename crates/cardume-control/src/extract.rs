//! What requests carry, refused with a problem document when it makes no sense.
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use cardume_content::{Cid, manifest::Name};
use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use serde::de::DeserializeOwned;

use crate::problem::{Refused, Result};

/// Names below a root, at most; deeper trees are refused by the store too.
const MAX_DEPTH: usize = 64;
/// Peers to ask first, at most.
pub(crate) const MAX_PEERS: usize = 32;

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(Refused::rejected(rejection.status(), rejection.body_text())),
        }
    }
}

/// One part of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Refused::rejected(rejection.status(), rejection.body_text())),
        }
    }
}

/// What follows the question mark.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Refused::rejected(rejection.status(), rejection.body_text())),
        }
    }
}

/// A CID in the path.
pub(crate) struct CidPath(pub(crate) Cid);

impl<S: Send + Sync> FromRequestParts<S> for CidPath {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await?;
        text.parse()
            .map(Self)
            .map_err(|error| Refused::usage(format!("{text:?}: {error}")))
    }
}

/// A peer id in the path.
pub(crate) struct PeerPath(pub(crate) PeerId);

impl<S: Send + Sync> FromRequestParts<S> for PeerPath {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await?;
        text.parse()
            .map(Self)
            .map_err(|error| Refused::usage(format!("{text:?} is no peer id: {error}")))
    }
}

/// `?path=&peer=`: names below a root, and where to ask first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Below {
    pub(crate) path: Vec<String>,
    pub(crate) peers: Vec<Multiaddr>,
}

impl<S: Send + Sync> FromRequestParts<S> for Below {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

impl Below {
    fn parse(query: &str) -> Result<Self> {
        let mut below = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "path" => below.path = names(&value)?,
                "peer" => below.peers.push(value.parse().map_err(|error| {
                    Refused::usage(format!("{value:?} is no address of a peer: {error}"))
                })?),
                _ => {
                    return Err(Refused::usage(format!(
                        "no parameter is called {key:?}; there are path and peer"
                    )));
                }
            }
        }
        check_peers(&below.peers)?;
        Ok(below)
    }
}

/// The names of a path below a root. A slash at either end says nothing.
pub(crate) fn names(path: &str) -> Result<Vec<String>> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let names = path
        .split('/')
        .map(|name| Name::new(name).map(|_| name.to_owned()));
    let names: Vec<_> = names.take(MAX_DEPTH + 1).collect::<Result<_, _>>()?;
    if names.len() > MAX_DEPTH {
        return Err(Refused::usage(format!(
            "the path is more than {MAX_DEPTH} names deep"
        )));
    }
    Ok(names)
}

/// Makes sure that every address says whose it is.
pub(crate) fn check_peers(peers: &[Multiaddr]) -> Result<()> {
    if peers.len() > MAX_PEERS {
        return Err(Refused::usage(format!("more than {MAX_PEERS} peers")));
    }
    match peers.iter().find(|address| peer_of(address).is_none()) {
        Some(address) => Err(Refused::usage(format!(
            "{address} does not end in /p2p/ and a peer id"
        ))),
        None => Ok(()),
    }
}

/// The peer that an address ends in.
pub(crate) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}
