//! What another configuration changes, and what of it a running node takes over.
mod keys;

use std::collections::{BTreeMap, BTreeSet};

use cardume_api::{Applies, Change, ConfigStatus, Plan};
use libp2p::PeerId;
use serde_json::Value;

use self::keys::{HIDDEN, KEYS};
use crate::{Config, Node, StartError, config::Access, topics, wiring};

/// Shown in place of what may hold a secret.
const HIDDEN_VALUE: &str = "(hidden)";

/// A key in its parts, such as `rates`, `upload`.
type Path = Vec<String>;

/// Tells what `new` changes where `running` holds.
pub fn plan(running: &Config, new: &Config) -> Plan {
    let (old, new) = (leaves(running), leaves(new));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let changes = keys.into_iter().filter_map(|key| {
        let (before, after) = (old.get(key), new.get(key));
        (before != after).then(|| Change {
            key: dotted(key),
            old: shown(key, before),
            new: shown(key, after),
            applies: applies(key),
        })
    });
    Plan::new(changes.collect())
}

/// What a node runs with that has run with `running` and takes over `new`: what applies live is the new, the rest stays.
pub fn merged(running: &Config, new: &Config) -> Config {
    let new = new.clone();
    let old = running.clone();
    Config {
        log: crate::config::Log {
            level: new.log.level,
            ..old.log
        },
        connect: cardume_connect::Config {
            accept_timeout: old.connect.accept_timeout,
            dial_timeout: old.connect.dial_timeout,
            idle_timeout: old.connect.idle_timeout,
            ..new.connect
        },
        peer: new.peer,
        network: cardume_membership::Config {
            authorities: new.network.authorities,
            ..old.network
        },
        store: cardume_store::Config {
            in_place: old.store.in_place,
            ..new.store
        },
        exchange: new.exchange,
        kad: cardume_kad::Config {
            allow: new.kad.allow,
            ..old.kad
        },
        nat: cardume_nat::Config {
            relay_limits: cardume_nat::RelayLimits {
                allow: new.nat.relay_limits.allow,
                ..old.nat.relay_limits
            },
            ..old.nat
        },
        rates: new.rates,
        share: new.share,
        topic: new.topic,
        tunnel: new.tunnel,
        gossipsub: cardume_gossipsub::Config {
            enabled: old.gossipsub.enabled,
            max_queue: old.gossipsub.max_queue,
            ..new.gossipsub
        },
        fetch: new.fetch,
        publish: new.publish,
        follow: new.follow,
        ..old
    }
}

impl Node {
    /// Takes over what applies live of `new`, all of it or nothing, and has callers told what waits for a restart, as
    /// `plan` says. `log.level` is for the program that runs the node, which has set up the log.
    ///
    /// # Errors
    /// When a value cannot work, or the disk fails; nothing has changed then.
    ///
    /// # Cancel safety
    /// Not to be dropped before it ends: some of it may have been taken over.
    pub async fn reload(&self, new: &Config, plan: &Plan) -> Result<(), StartError> {
        let mut running = self.running.lock().await;
        let config = merged(&running, new);
        let names = config.check()?;
        let bad = |key, reason| StartError::Config { key, reason };
        self.connect
            .configure(&config.connect, &config.peer)
            .await
            .map_err(|error| bad("connect", error.to_string()))?;
        if let Err(error) = self.set(&config).await {
            // All has to be as it was. What it ran with was not wrong.
            let _ = self.connect.configure(&running.connect, &running.peer).await;
            let _ = self.set(&running).await;
            return Err(error);
        }
        self.store.configure(&config.store);
        self.exchange.configure(config.exchange.clone());
        let connected = self.connect.peers().await.unwrap_or_default();
        let connected: Vec<_> = connected.iter().map(|info| info.peer).collect();
        let topics = running.topic.keys().chain(config.topic.keys()).cloned().collect();
        let before = topics::subscribers(&running, &self.roll, &topics, &connected);
        self.roll.rename(names);
        self.tunnels.configure(&config.tunnel);
        self.relay_allow.set(config.nat.relay_limits.allow.as_deref());
        self.kad_allow.set(config.kad.allow.as_deref());
        let now = topics::subscribers(&config, &self.roll, &topics, &connected);
        let changed = before.symmetric_difference(&now).map(|(_, peer)| *peer);
        self.reconnect(changed.collect());
        if let Err(mistake) = self.rates.reload(config.rates.clone()) {
            unreachable!(
                "rates were checked: {} {}",
                mistake.path.join("."),
                mistake.reason
            );
        }
        self.renew(config.shares()).await;
        self.part_from_unlisted().await;
        let status = ConfigStatus {
            waiting: plan.waiting(),
            problem: None,
        };
        self.configuration.set(value(&config), facts(&config), status);
        *running = config;
        Ok(())
    }

    /// Has what only the disk can refuse count.
    async fn set(&self, config: &Config) -> Result<(), StartError> {
        self.tables.set(config).await?;
        let (membership, network) = (self.membership.clone(), config.network.clone());
        let trusting = tokio::task::spawn_blocking(move || membership.configure(&network));
        let trusted = trusting.await.expect("reading keys does not panic");
        trusted.map_err(wiring::bad_membership)
    }

    /// Has what is shared already be for those whom configuration allows it now.
    async fn renew(&self, shares: BTreeMap<String, cardume_share::Config>) {
        let (store, database) = (self.store.clone(), self.database.clone());
        let renewing = tokio::task::spawn_blocking(move || cardume_share::renew(&shares, &store, &database));
        // Each share is looked through by its turn, and has its list then.
        if let Err(error) = renewing.await.expect("renewing lists does not panic") {
            tracing::warn!(%error, "lists of shares count when these have been looked through");
        }
    }

    /// Ends connections with peers and dials them anew: whether messages of a topic are for a peer is asked when it
    /// subscribes, which it does when it connects.
    fn reconnect(&self, peers: BTreeSet<PeerId>) {
        if peers.is_empty() {
            return;
        }
        let connect = self.connect.clone();
        self.tasks.spawn("reconnecting", async move {
            for peer in peers {
                tracing::info!(%peer, "connecting anew, as other topics are for it");
                // Fails when the node is stopping. Who cannot be dialled comes back by itself.
                if connect.disconnect(peer).await == Ok(true)
                    && let Err(error) = connect.connect(peer, Vec::new()).await
                {
                    tracing::debug!(%peer, %error, "not dialled anew");
                }
            }
        });
    }

    /// Closes connections with peers that a network of listed peers no longer lists.
    async fn part_from_unlisted(&self) {
        if self.membership.access() != Access::Listed {
            return;
        }
        let names = self.roll.names();
        let connected = self.connect.peers().await.unwrap_or_default();
        let unlisted = connected.iter().filter(|info| names.name(&info.peer).is_none());
        for info in unlisted {
            tracing::info!(peer = %info.peer, "listed no more; the connection is closed");
            // Fails when the node is stopping, which closes it too.
            let _ = self.connect.disconnect(info.peer).await;
        }
    }

    /// Has callers told why a reload changed nothing.
    pub fn reload_failed(&self, problem: impl Into<String>) {
        self.configuration.failed(problem.into());
    }

    /// Waits for a caller of the API that wants the configuration files read. The node reads none: the program that
    /// runs it answers. Never ends when the node's doors are closed.
    ///
    /// # Cancel safety
    /// Nobody is lost when it is dropped.
    pub async fn asked(&self) -> cardume_control::Asked {
        match self.asked.lock().await.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }
}

/// A configuration as callers see it.
pub(crate) fn value(config: &Config) -> Value {
    serde_json::to_value(config).expect("a configuration is made of texts and numbers")
}

/// What answers follow from a configuration.
pub(crate) fn facts(config: &Config) -> cardume_control::Facts {
    let paths = config.shares().into_values().map(|share| share.path);
    let fetches = config.fetch.values().map(|fetch| fetch.to.clone());
    let follows = config.follow.values().map(|follow| follow.to.clone());
    cardume_control::Facts {
        memory_ceiling: config.connect.memory_ceiling.get(),
        shares: paths.chain(fetches).chain(follows).collect(),
    }
}

/// Every value that is set, by its key.
fn leaves(config: &Config) -> BTreeMap<Path, Value> {
    let (mut found, mut waiting) = (BTreeMap::new(), vec![(Path::new(), value(config))]);
    while let Some((path, value)) = waiting.pop() {
        match value {
            Value::Object(table) => waiting.extend(table.into_iter().map(|(name, value)| {
                let path = path.iter().cloned().chain([name]).collect();
                (path, value)
            })),
            Value::Null => {}
            value => {
                found.insert(path, value);
            }
        }
    }
    found
}

/// What it takes for a key to apply.
fn applies(path: &[String]) -> Applies {
    let entry = KEYS.iter().find(|(key, _)| is(path, key));
    entry.map_or(Applies::Restart, |(_, applies)| *applies)
}

/// Whether a key is the one of a table, where `*` stands for any name.
fn is(path: &[String], key: &str) -> bool {
    let parts: Vec<_> = key.split('.').collect();
    let same = |(part, name): (&&str, &String)| *part == "*" || part == name;
    parts.len() == path.len() && parts.iter().zip(path).all(same)
}

fn shown(path: &[String], value: Option<&Value>) -> Value {
    match value {
        None => Value::Null,
        Some(_) if HIDDEN.iter().any(|key| is(path, key)) => HIDDEN_VALUE.into(),
        Some(value) => value.clone(),
    }
}

/// A key as in TOML: a name that could not stand bare is in quotes.
fn dotted(path: &[String]) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let names = path
        .iter()
        .map(|name| match !name.is_empty() && name.chars().all(bare) {
            true => name.clone(),
            false => Value::from(name.as_str()).to_string(),
        });
    names.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests;
