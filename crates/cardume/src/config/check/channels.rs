//! `[publish.*]` and `[follow.*]`.
use std::{collections::BTreeMap, path::Path, time::Duration};

use cardume_channel::{check_name, share_name};
use cardume_node::Config;

use super::Findings;

/// Old versions of one follow, at most: each has a name for every file.
const MAX_KEEP: u32 = 1000;
/// Less would keep the DHT busy with one channel.
const MIN_POLL: Duration = Duration::from_secs(1);

pub(super) fn check(config: &Config, found: &mut Findings) {
    publishes(config, found);
    follows(config, found);
}

fn publishes(config: &Config, found: &mut Findings) {
    let mut paths: BTreeMap<_, String> = config
        .share
        .iter()
        .map(|(name, share)| (parts(&share.path), format!("[share.{name}]")))
        .collect();
    for (name, publish) in &config.publish {
        if let Err(error) = check_name(name) {
            found.add(
                &["publish", name],
                error.to_string(),
                Some("as in [publish.films]"),
            );
        }
        if config.share.contains_key(&share_name(name)) {
            let reason = format!("[publish.{name}] makes a share of this name");
            found.add(
                &["share", &share_name(name)],
                reason,
                Some("call it something else"),
            );
        }
        if !publish.path.is_absolute() {
            let reason = format!("{:?} is not absolute", publish.path);
            found.add(&["publish", name, "path"], reason, Some("begin it with /"));
        }
        if let Some(other) = paths.insert(parts(&publish.path), format!("[publish.{name}]")) {
            let reason = format!("{other} shares {:?} already", publish.path);
            found.add(&["publish", name, "path"], reason, Some("share a path once"));
        }
    }
}

fn follows(config: &Config, found: &mut Findings) {
    let mut places: BTreeMap<_, String> = config
        .fetch
        .iter()
        .map(|(name, fetch)| (parts(&fetch.to), format!("[fetch.{name}]")))
        .collect();
    for (name, follow) in &config.follow {
        let add = |found: &mut Findings, key: &str, reason: String, hint| {
            found.add(&["follow", name, key], reason, Some(hint));
        };
        if config
            .fetch
            .get(name)
            .is_some_and(|fetch| fetch.channel().is_some())
        {
            let reason = format!("[fetch.{name}] names a channel, and follows it under this name");
            found.add(&["follow", name], reason, Some("give one of them another name"));
        }
        if !follow.to.is_absolute() || follow.to.file_name().is_none() {
            let reason = format!("{:?} is not absolute, or has no name", follow.to);
            add(found, "to", reason, "write /directory/name");
        }
        if let Some(other) = places.insert(parts(&follow.to), format!("[follow.{name}]")) {
            let reason = format!("{other} goes there too");
            add(found, "to", reason, "give each a place of its own");
        }
        if follow.keep > MAX_KEEP {
            let reason = format!("{} are too many", follow.keep);
            add(found, "keep", reason, "at most 1000");
        }
        if follow.poll.get() < MIN_POLL {
            add(
                found,
                "poll",
                format!("{} is too short", follow.poll),
                "at least \"1s\"",
            );
        }
        if follow.timeout.get().is_zero() {
            let reason = "must be longer than nothing".into();
            add(found, "timeout", reason, "for example \"5m\"");
        }
        if let Some(program) = follow.on_update.first()
            && !program.starts_with('/')
        {
            // What a name means depends on where the daemon was started.
            let reason = format!("{program:?} is not absolute");
            add(found, "on_update", reason, "begin it with /");
        }
    }
}

/// Compared part by part, so that a slash at the end makes no difference.
fn parts(path: &Path) -> Vec<std::path::Component<'_>> {
    path.components().collect()
}
