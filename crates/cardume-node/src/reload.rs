//! What another configuration changes, and what of it a running node takes over.
mod keys;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

use cardume_api::{Applies, Change, ConfigStatus, Plan};
use serde_json::Value;

use self::keys::{HIDDEN, KEYS};
use crate::{Config, Node, StartError};

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

/// Makes `running` say what a node runs with that has taken over `new`: what applies live is the new, the rest stays.
pub fn take_over(running: &mut Config, new: &Config) {
    running.rates = new.rates.clone();
    running.log.level = new.log.level.clone();
}

impl Node {
    /// Takes over what applies live of `new`, all of it or nothing, and has callers told what waits for a restart, as
    /// `plan` says. `log.level` is for the program that runs the node, which has set up the log.
    ///
    /// # Errors
    /// When a value cannot work; nothing has changed then.
    pub fn reload(&self, new: &Config, plan: &Plan) -> Result<(), StartError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.rates
            .reload(new.rates.clone())
            .map_err(|mistake| StartError::Config {
                key: "rates",
                reason: format!("{} {}", mistake.path.join("."), mistake.reason),
            })?;
        take_over(&mut running, new);
        let status = ConfigStatus {
            waiting: plan.waiting(),
            problem: None,
        };
        self.configuration.set(value(&running), status);
        Ok(())
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
