//! The keys of `[kad]`, and building from them.
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use cardume_access::List;
use libp2p_identity::PeerId;
use libp2p_kad as kad;
use libp2p_swarm::StreamProtocol;

use crate::{
    Behaviour, Handle, Server,
    disk::{self, LoadError},
    driver::Kad,
    inner::{Inner, Speakers},
    journal,
    judge::Judge,
    records::{Limits, Records},
    tell::Teller,
};

/// How long others keep what we announce, and we what they do, without hearing of it again.
///
/// The libp2p specification's 48 h; whatever a remote peer asks for is cut to it.
pub(crate) const TTL: Duration = Duration::from_secs(48 * 3600);

/// The largest value of a record, in bytes.
pub(crate) const MAX_VALUE: usize = 64 * 1024;

/// The largest key of a record or a provider, in bytes; a CID has 36. Without it keys would be the way
/// around the limit on values.
pub(crate) const MAX_KEY: usize = 1024;

/// The largest message, in bytes: a value, a key and twenty closer peers with eight addresses each.
const MAX_PACKET: usize = 96 * 1024;

/// How long one request to one peer may take. Peers that never answer cost every lookup that meets them as
/// much, and a lookup has 30 s.
const STREAM_TIMEOUT: Duration = Duration::from_secs(4);

/// Disjoint paths of one lookup, and requests at the same time on each. The specification's 3 are few where a
/// quarter of all peers are hostile: a silent one holds up its path.
const PATHS: NonZeroUsize = NonZeroUsize::new(4).expect("it is not zero");

/// How often stored values are handed to the peers that are now the closest.
const REPLICATION_INTERVAL: Duration = Duration::from_secs(3600);

/// How often our own values are put again; well below [`TTL`].
const PUBLICATION_INTERVAL: Duration = Duration::from_secs(22 * 3600);

/// Commands that may wait for the swarm's task before their callers do.
const MAILBOX: usize = 64;

/// The keys of `[kad]`: the distributed hash table.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether the DHT is used at all.
    pub enabled: bool,
    /// Whether this node answers others' lookups.
    pub mode: Mode,
    /// How long one lookup may take.
    pub query_timeout: cardume_units::Duration,
    /// Lookups at the same time; more wait.
    pub parallel_queries: usize,
    /// How often each provided key is announced again; others forget it after 48 h.
    pub provider_interval: cardume_units::Duration,
    /// Values of others kept here, of at most 64 KiB each; also the number of our own.
    pub max_records: usize,
    /// Providers kept here for others, in all.
    pub max_providers: usize,
    /// For whom they are kept: names of peers, `group:NAME` and peer ids. Everybody who can connect, if not given.
    pub allow: Option<Vec<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: Mode::Auto,
            query_timeout: cardume_units::Duration::from_secs(30),
            parallel_queries: 16,
            provider_interval: cardume_units::Duration::from_secs(12 * 3600),
            max_records: 1024,
            max_providers: 16384,
            allow: None,
        }
    }
}

/// Whether a node answers others' lookups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A server on a local network, and where a public address of ours is confirmed; else a client.
    Auto,
    /// Always answers.
    Server,
    /// Never answers; asks and announces only.
    Client,
}

/// Why the DHT could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A key of `[kad]` has a value that makes no sense.
    #[error("kad.{key} {reason}")]
    Invalid {
        /// The key's name.
        key: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What an earlier run has kept could not be read.
    #[error("reading the records of the DHT")]
    Load(#[from] LoadError),
}

impl Config {
    /// Builds the DHT of `network` for the peer `local`, with what an earlier run kept in `database`; `allow` says
    /// for whom something is kept, `judge` knows which values are true.
    ///
    /// Reads the tables at once: call it where blocking is allowed. `enabled` is for the caller to look at.
    ///
    /// # Errors
    /// When a key makes no sense, or the database cannot be read.
    pub fn build(
        &self,
        local: PeerId,
        network: &str,
        database: Arc<redb::Database>,
        allow: List,
        judge: Arc<dyn Judge>,
    ) -> Result<(Behaviour, Handle, Server), BuildError> {
        self.check()?;
        let limits = Limits {
            records: self.max_records,
            providers: self.max_providers,
        };
        let stored = disk::load(&database, limits)?;
        let (journal, server) = journal::open(database, stored.stale);
        let mut records = Records::new(local, limits, journal, judge);
        records.restore(stored.values, stored.providers);
        let name = StreamProtocol::try_from_owned(format!("/cardume/{network}/kad/1"))
            .expect("the name begins with a slash");
        let mut inner = Inner {
            dht: kad::Behaviour::with_config(local, records, self.protocol(name.clone())),
            speakers: Speakers::new(name.clone()),
            teller: Teller::new(local, name),
        };
        let driver = Kad::new(local, self, &mut inner, stored.before, allow);
        let (behaviour, mailbox) = Behaviour::new(inner, driver, MAILBOX);
        Ok((behaviour, Handle::new(mailbox), server))
    }

    fn check(&self) -> Result<(), BuildError> {
        let invalid = |key, reason| Err(BuildError::Invalid { key, reason });
        if self.parallel_queries == 0 {
            return invalid("parallel_queries", "must be at least 1");
        }
        if self.query_timeout.get() < Duration::from_secs(1) {
            return invalid("query_timeout", "must be at least 1s");
        }
        if self.provider_interval.get() < Duration::from_secs(60) {
            return invalid("provider_interval", "must be at least 1min");
        }
        if self.provider_interval.get() >= TTL {
            return invalid("provider_interval", "must be less than 48h, when others forget");
        }
        Ok(())
    }

    /// Every setting is made here, whatever its default, so that an upgrade changes none unseen.
    fn protocol(&self, name: StreamProtocol) -> kad::Config {
        let mut config = kad::Config::new(name);
        config
            .set_query_timeout(self.query_timeout.get())
            .set_replication_factor(kad::K_VALUE)
            .set_parallelism(PATHS)
            .disjoint_query_paths(true)
            .set_record_ttl(Some(TTL))
            .set_replication_interval(Some(REPLICATION_INTERVAL))
            .set_publication_interval(Some(PUBLICATION_INTERVAL))
            .set_record_filtering(kad::StoreInserts::FilterBoth)
            .set_provider_record_ttl(Some(TTL))
            // Announcements have a scheduler of their own, without bursts.
            .set_provider_publication_interval(None)
            .set_max_packet_size(MAX_PACKET)
            .set_substreams_timeout(STREAM_TIMEOUT)
            .set_kbucket_inserts(kad::BucketInserts::Manual)
            .set_kbucket_size(kad::K_VALUE)
            .set_kbucket_pending_timeout(Duration::from_secs(60))
            .set_caching(kad::Caching::Disabled)
            // The driver's sweep does it: this one warns every time it finds an empty table.
            .set_periodic_bootstrap_interval(None);
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_errors_that_name_the_key() {
        let second = cardume_units::Duration::from_secs(1);
        let configs = [
            (
                "parallel_queries",
                Config {
                    parallel_queries: 0,
                    ..Config::default()
                },
            ),
            (
                "query_timeout",
                Config {
                    query_timeout: cardume_units::Duration::from_millis(1),
                    ..Config::default()
                },
            ),
            (
                "provider_interval",
                Config {
                    provider_interval: second,
                    ..Config::default()
                },
            ),
            (
                "provider_interval",
                Config {
                    provider_interval: cardume_units::Duration(TTL),
                    ..Config::default()
                },
            ),
        ];
        for (key, config) in configs {
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("kad.{key} must be")), "{error}");
        }
        assert!(Config::default().check().is_ok());
    }
}
