//! `[rates]`.
use std::{collections::BTreeMap, num::NonZeroU64};

use cardume_access::rates::{self, Class, Rates};
use cardume_units::Limit;
use jiff::civil::{Time, Weekday};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A limit is never less: with many peers on a slower line, requests would end for lack of progress.
const LEAST: u64 = 16_000;

/// The `[rates]` table of the configuration: limits for content, in bytes a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Content to all peers together.
    pub upload: Limit,
    /// Content from all peers together.
    pub download: Limit,
    /// Content to any one peer, and as much from it.
    pub per_peer: Limit,
    /// For peers on this host and on private networks.
    pub lan: Limits,
    /// For peers anywhere else.
    pub wan: Limits,
    /// For peers behind a relay.
    pub relay: Limits,
    /// What holds instead at some hours, by name.
    pub schedule: BTreeMap<String, Schedule>,
}

/// `[rates.lan]`, `[rates.wan]` and `[rates.relay]`: limits for some peers, within those for all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Content to all of these peers together.
    pub upload: Limit,
    /// Content from all of these peers together.
    pub download: Limit,
    /// Content to any one of these peers, and as much from it.
    pub per_peer: Limit,
}

/// `[rates.schedule.NAME]`: limits that hold at some hours. What it does not name stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The days on which it begins; every day if not set.
    #[serde(default)]
    pub days: Vec<Day>,
    /// When it begins, in local time, such as `08:00`.
    #[schemars(with = "String")]
    pub from: Time,
    /// When it ends, in local time; on the next day if that is not after `from`.
    #[schemars(with = "String")]
    pub to: Time,
    /// Content to all peers together.
    #[serde(default)]
    pub upload: Option<Limit>,
    /// Content from all peers together.
    #[serde(default)]
    pub download: Option<Limit>,
    /// Content to any one peer, and as much from it.
    #[serde(default)]
    pub per_peer: Option<Limit>,
    /// For peers on this host and on private networks.
    #[serde(default)]
    pub lan: Changes,
    /// For peers anywhere else.
    #[serde(default)]
    pub wan: Changes,
    /// For peers behind a relay.
    #[serde(default)]
    pub relay: Changes,
}

/// What a schedule changes for some peers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Changes {
    /// Content to all of these peers together.
    pub upload: Option<Limit>,
    /// Content from all of these peers together.
    pub download: Option<Limit>,
    /// Content to any one of these peers, and as much from it.
    pub per_peer: Option<Limit>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they are the days of the week")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    pub(super) fn is(self, weekday: Weekday) -> bool {
        self as i8 == weekday.to_monday_zero_offset()
    }
}

/// A limit that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is, below `rates`.
    pub path: Vec<String>,
    /// What is wrong.
    pub reason: String,
}

impl Config {
    /// Returns what holds when no schedule does.
    pub fn rates(&self) -> Rates {
        let of = |limits: &Limits| plain(limits.upload, limits.download, limits.per_peer);
        Rates {
            all: plain(self.upload, self.download, self.per_peer),
            lan: of(&self.lan),
            wan: of(&self.wan),
            relay: of(&self.relay),
        }
    }

    /// Finds every limit that is too low to be kept.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut found = mistakes(&self.rates(), &[]);
        for (name, schedule) in &self.schedule {
            let changed = schedule.rates(Rates::default());
            found.extend(mistakes(&changed, &["schedule", name]));
        }
        found
    }
}

impl Schedule {
    /// Returns what holds in its hours, where `usual` holds otherwise.
    pub(super) fn rates(&self, usual: Rates) -> Rates {
        let change = |limit: Option<Limit>, usual| limit.map_or(usual, bytes);
        let of = |changes: &Changes, usual: rates::Limits| rates::Limits {
            upload: change(changes.upload, usual.upload),
            download: change(changes.download, usual.download),
            per_peer: change(changes.per_peer, usual.per_peer),
        };
        let all = Changes {
            upload: self.upload,
            download: self.download,
            per_peer: self.per_peer,
        };
        Rates {
            all: of(&all, usual.all),
            lan: of(&self.lan, usual.lan),
            wan: of(&self.wan, usual.wan),
            relay: of(&self.relay, usual.relay),
        }
    }
}

fn plain(upload: Limit, download: Limit, per_peer: Limit) -> rates::Limits {
    rates::Limits {
        upload: bytes(upload),
        download: bytes(download),
        per_peer: bytes(per_peer),
    }
}

/// Nothing at all a second is no limit that bytes can keep; [`mistakes`] finds the one that stands for it.
fn bytes(limit: Limit) -> Option<NonZeroU64> {
    limit
        .0
        .map(|rate| NonZeroU64::new(rate.get()).unwrap_or(NonZeroU64::MIN))
}

/// Finds every limit that is too low to be kept; paths begin with `under`.
pub(super) fn mistakes(rates: &Rates, under: &[&str]) -> Vec<Mistake> {
    let classes = Class::ALL.map(|class| (Some(class.name()), rates.class(class)));
    let mut found = Vec::new();
    for (class, limits) in std::iter::once((None, &rates.all)).chain(classes) {
        for (key, limit) in [
            ("upload", limits.upload),
            ("download", limits.download),
            ("per_peer", limits.per_peer),
        ] {
            if limit.is_some_and(|limit| limit.get() < LEAST) {
                let path = under.iter().copied().chain(class).chain([key]);
                found.push(Mistake {
                    path: path.map(str::to_owned).collect(),
                    reason: "is less than 16kB/s, too slow for requests to end".to_owned(),
                });
            }
        }
    }
    found
}
