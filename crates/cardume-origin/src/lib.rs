//! Files on web servers, read in ranges over HTTPS.
//!
//! It verifies nothing: what a server sends is its word until somebody has checked it against a content id. It knows no
//! peers and no disk, and contacts no host that it was not told to.
//!
//! # Invariants
//!
//! * Only HTTPS, only with a certificate that holds, also after a redirect.
//! * No more requests at once than the configuration allows, to one host and to all.
//! * A host that asks for patience has it, and nothing waits for ever.
//! * Never more bytes than were asked for; no body is read ahead of whoever takes it.
mod address;
mod config;
mod error;
mod handle;
mod host;
mod line;
mod reach;
mod read;
mod server;
mod tls;

pub use self::{
    address::{Address, ParseAddressError},
    config::{Config, Pace},
    error::{BuildError, OriginError},
    handle::{Handle, Named},
    read::Body,
    server::Server,
    tls::client as tls_client,
};
