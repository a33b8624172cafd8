//! Where Prometheus asks: a TCP port for numbers and nothing else.
use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
};

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use tokio::net::{TcpListener, TcpStream};

use crate::{config::BuildError, hosts::Hosts, problem::Refused, routes};

/// `[metrics]`: where Prometheus may ask.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// IP address and port where `/metrics`, `/livez` and `/readyz`, and nothing else, are served over HTTP to everybody
    /// who gets there; nowhere, if not set.
    #[schemars(with = "Option<String>")]
    pub listen: Option<SocketAddr>,
}

/// A port that listens.
#[derive(Debug)]
pub(crate) struct Port(TcpListener);

impl Port {
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, BuildError> {
        let bound = StdListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        let port = bound
            .map(Self)
            .map_err(|source| BuildError::Metrics { address, source })?;
        if !address.ip().is_loopback() {
            tracing::info!(%address, "everybody who gets to this address may read the metrics");
        }
        Ok(port)
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }

    pub(crate) async fn accept(&self) -> std::io::Result<TcpStream> {
        self.0.accept().await.map(|(stream, _)| stream)
    }

    /// What is served here.
    pub(crate) fn router(&self, parts: Arc<routes::Parts>) -> Router {
        let is_local = self.address().is_some_and(|address| address.ip().is_loopback());
        routes::numbers(parts).layer(from_fn(move |request: Request, next: Next| async move {
            if is_local && !Hosts::default().are_named_by(request.uri(), request.headers()) {
                return Refused::denied("no name but localhost leads here").into_response();
            }
            next.run(request).await as Response
        }))
    }
}
