//! Real nodes, hostile peers and network namespaces, for tests.
//!
//! A development dependency only: nothing that ships may import it.

pub mod browser;
pub mod capture;
pub mod daemon;
pub mod files;
pub mod flood;
pub mod hosts;
pub mod internet;
pub mod liar;
pub mod line;
pub mod neighbour;
pub mod patience;
pub mod proxy;
pub mod shouter;
pub mod web;
