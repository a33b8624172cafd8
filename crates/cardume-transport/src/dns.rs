//! Names in addresses, resolved as the system does.
use std::time::Duration;

use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use libp2p_dns::tokio::Transport;

/// A name that does not resolve in this time counts as unknown.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Resolves the names in addresses before `inner` dials them.
pub(crate) fn build<T>(inner: T) -> Transport<T> {
    let (config, options) = resolver();
    Transport::custom(inner, config, options)
}

/// The system's name servers, or none: a host without any still dials addresses.
fn resolver() -> (ResolverConfig, ResolverOpts) {
    let (config, mut options) = hickory_resolver::system_conf::read_system_conf().unwrap_or_else(|error| {
        tracing::info!(%error, "no name servers are configured on this host; /dns addresses will not resolve");
        (ResolverConfig::from_parts(None, Vec::new(), Vec::new()), ResolverOpts::default())
    });
    options.timeout = TIMEOUT;
    options.attempts = 1;
    (config, options)
}
