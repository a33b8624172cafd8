//! The keys of `[topic.NAME]`.
use std::path::{Path, PathBuf};

use cardume_gossipsub::MAX_HISTORY;
use cardume_units::{Duration, Size};

/// Content of a message, at most: it is held in memory by all who read it.
const MAX_CONTENT: Size = Size::mib(64);

/// `[topic.NAME]`: what holds for one topic, and what becomes of its messages here.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whose messages are taken: names of peers, `group:NAME` or peer ids; everybody's if not set.
    pub publishers: Option<Vec<String>>,
    /// Whom messages are sent to, besides whoever else may pass them on; everybody that subscribes if not set.
    pub subscribers: Option<Vec<String>>,
    /// The largest message; `[gossipsub] max_message` if not set. What is larger travels as content.
    pub max_message: Option<Size>,
    /// The largest message that is taken as content; nothing at all if zero.
    pub max_content: Size,
    /// Messages a second of one author; `[gossipsub] max_rate` if not set.
    pub max_rate: Option<u32>,
    /// The last messages that this node keeps for peers that come later, for a day at most, subscribed from its start; and
    /// that it asks peers for when somebody here reads the topic from before. None if zero.
    // Not written where it is 0: a topic without it would look as if something of it waited for a restart.
    #[serde(skip_serializing_if = "is_zero")]
    pub history: usize,
    /// What the messages are handed to, from the start of the node.
    pub deliver: Deliver,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            publishers: None,
            subscribers: None,
            max_message: None,
            max_content: Size::mib(4),
            max_rate: None,
            history: 0,
            deliver: Deliver::default(),
        }
    }
}

/// `[topic.NAME.deliver]`: what messages are handed to. Each of these gets every message.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Deliver {
    /// A command that is run for each message.
    pub exec: Option<Exec>,
    /// A URL that each message is posted to.
    pub webhook: Option<Webhook>,
    /// A directory that each message is written to.
    pub spool: Option<Spool>,
}

/// `[topic.NAME.deliver.exec]`: a command run for each message, which is its standard input.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The program, as an absolute path, and its arguments; no shell is between.
    pub command: Vec<String>,
    /// Time for one message, after which the command is killed with all that it has started.
    #[serde(default = "Exec::timeout")]
    pub timeout: Duration,
    /// Commands at once. With more than one, messages may be handled in another order than they came in.
    #[serde(default = "one")]
    pub concurrency: usize,
}

/// `[topic.NAME.deliver.webhook]`: a URL that each message is posted to.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// `https://` or `http://`; redirects are not followed.
    pub url: String,
    /// A file with a secret, with which each request is signed (HMAC-SHA256).
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// A PEM file with certificate authorities to trust besides those that browsers do.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Time for one attempt.
    #[serde(default = "Webhook::timeout")]
    pub timeout: Duration,
    /// Attempts, with longer and longer pauses, before a message is given up.
    #[serde(default = "Webhook::attempts")]
    pub attempts: u32,
}

/// `[topic.NAME.deliver.spool]`: a directory that each message is written to, one file each.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spool {
    /// The directory, absolute; it has to be there.
    pub directory: PathBuf,
    /// Bytes that the files in it may have; while there is no room, messages wait, and then are lost.
    #[serde(default = "Spool::quota")]
    pub quota: Size,
}

const fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Exec {
    const fn timeout() -> Duration {
        Duration::from_secs(60)
    }
}

impl Webhook {
    const fn timeout() -> Duration {
        Duration::from_secs(10)
    }

    const fn attempts() -> u32 {
        8
    }
}

impl Spool {
    const fn quota() -> Size {
        Size::gib(1)
    }
}

/// Something wrong with a `[topic.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The key below `topic.NAME`.
    pub path: Vec<&'static str>,
    /// What is wrong.
    pub reason: String,
    /// What would be right.
    pub hint: &'static str,
}

/// Where an exec, a webhook or a spool directory is, for the reports about it.
const EXEC: &str = "exec";
const WEBHOOK: &str = "webhook";
const SPOOL: &str = "spool";

impl Config {
    /// Finds every mistake that can be seen without looking at the disk.
    pub fn mistakes(&self, name: &str) -> Vec<Mistake> {
        let mut found = Vec::new();
        let mut add = |path: &[&'static str], reason: String, hint| {
            let path = path.to_vec();
            found.push(Mistake { path, reason, hint });
        };
        if let Err(reason) = cardume_gossipsub::check_name(name) {
            add(&[], format!("{name:?}: {reason}"), "as in [topic.news]");
        }
        let size = self
            .max_message
            .filter(|size| !(Size::kib(1)..=Size::kib(60)).contains(size));
        if let Some(size) = size {
            add(
                &["max_message"],
                format!("{size} is out of range"),
                "from \"1KiB\" to \"60KiB\"",
            );
        }
        if self.max_content > MAX_CONTENT {
            let reason = format!("{} is out of range", self.max_content);
            add(&["max_content"], reason, "at most \"64MiB\"");
        }
        if self.max_rate == Some(0) {
            add(&["max_rate"], "0 is out of range".into(), "at least 1");
        }
        if self.history > MAX_HISTORY {
            add(
                &["history"],
                format!("{} is out of range", self.history),
                "at most 1024",
            );
        }
        let Deliver { exec, webhook, spool } = &self.deliver;
        if let Some(exec) = exec {
            exec.check(|key, reason, hint| add(&["deliver", EXEC, key], reason, hint));
        }
        if let Some(webhook) = webhook {
            webhook.check(|key, reason, hint| add(&["deliver", WEBHOOK, key], reason, hint));
        }
        if let Some(spool) = spool {
            let place = ["deliver", SPOOL, "directory"];
            check_path(&spool.directory, |reason, hint| add(&place, reason, hint));
        }
        found
    }
}

impl Exec {
    fn check(&self, mut add: impl FnMut(&'static str, String, &'static str)) {
        let program = self.command.first().map(Path::new);
        if !program.is_some_and(Path::is_absolute) {
            let reason = format!("{program:?} is no absolute path of a program");
            add(
                "command",
                reason,
                "as in [\"/usr/local/bin/on-news\", \"--quiet\"]",
            );
        }
        if self.timeout.get().is_zero() {
            add(
                "timeout",
                "must be longer than nothing".into(),
                "for example \"1m\"",
            );
        }
        if !(1..=64).contains(&self.concurrency) {
            add(
                "concurrency",
                format!("{} is out of range", self.concurrency),
                "from 1 to 64",
            );
        }
    }
}

impl Webhook {
    fn check(&self, mut add: impl FnMut(&'static str, String, &'static str)) {
        if let Err(reason) = crate::deliver::check_url(&self.url) {
            add(
                "url",
                format!("{:?} {reason}", self.url),
                "as in \"https://example.org/hook\"; a secret goes into secret_file",
            );
        }
        for (key, path) in [("secret_file", &self.secret_file), ("ca_file", &self.ca_file)] {
            if let Some(path) = path {
                check_path(path, |reason, hint| add(key, reason, hint));
            }
        }
        if self.timeout.get().is_zero() {
            add(
                "timeout",
                "must be longer than nothing".into(),
                "for example \"10s\"",
            );
        }
        if !(1..=100).contains(&self.attempts) {
            add(
                "attempts",
                format!("{} is out of range", self.attempts),
                "from 1 to 100",
            );
        }
    }
}

fn check_path(path: &Path, add: impl FnOnce(String, &'static str)) {
    if !path.is_absolute() {
        add(format!("{path:?} is not absolute"), "begin it with /");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_found_and_its_key_named() {
        let mut config = Config {
            max_message: Some(Size::mib(1)),
            max_content: Size::gib(1),
            max_rate: Some(0),
            history: MAX_HISTORY + 1,
            ..Config::default()
        };
        config.deliver.exec = Some(Exec {
            command: vec!["sh".into()],
            timeout: Duration::from_secs(0),
            concurrency: 0,
        });
        config.deliver.webhook = Some(Webhook {
            url: "ftp://example.org".into(),
            secret_file: Some("secret".into()),
            ca_file: None,
            timeout: Duration::from_secs(1),
            attempts: 0,
        });
        config.deliver.spool = Some(Spool {
            directory: "spool".into(),
            quota: Size::mib(1),
        });
        let found: Vec<_> = config
            .mistakes("a\nb")
            .into_iter()
            .map(|one| one.path.join("."))
            .collect();
        let expected = [
            "",
            "max_message",
            "max_content",
            "max_rate",
            "history",
            "deliver.exec.command",
            "deliver.exec.timeout",
            "deliver.exec.concurrency",
            "deliver.webhook.url",
            "deliver.webhook.secret_file",
            "deliver.webhook.attempts",
            "deliver.spool.directory",
        ];
        assert_eq!(found, expected);
        assert_eq!(Config::default().mistakes("news"), []);
    }
}
