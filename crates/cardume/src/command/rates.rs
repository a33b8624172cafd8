//! `cardume net rates`: how fast content may go.
use std::time::Duration;

use cardume_api::{ClassLimits, NewRates, RateLimits, Rates, RatesOrigin};
use cardume_units::{Limit, Rate};
use clap::{Args, ValueEnum};

use crate::{
    reach::Reach,
    text::{size, span, table},
};

/// How fast content may go: tells it, or changes it while the node runs
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cardume net rates\n  \
    cardume net rates --upload 20MB/s --for 2h\n  \
    cardume net rates --of wan --upload 10Mbit/s\n  \
    cardume net rates --reset\n\n\
    What is changed here is not written to the configuration. Without --for it holds until the daemon\n\
    stops; schedules wait meanwhile. A rate is at least 16kB/s, or unlimited.")]
pub(crate) struct Options {
    /// Content to all peers together
    #[arg(long, value_name = "RATE")]
    upload: Option<Limit>,
    /// Content from all peers together
    #[arg(long, value_name = "RATE")]
    download: Option<Limit>,
    /// Content to any one peer, and as much from it
    #[arg(long, value_name = "RATE")]
    per_peer: Option<Limit>,
    /// Change the limits of these peers, within those of all
    #[arg(long, value_name = "PEERS", conflicts_with = "reset")]
    of: Option<Class>,
    /// Go back to the configuration after this
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "reset")]
    lasts: Option<cardume_units::Duration>,
    /// Go back to the configuration now
    #[arg(long, conflicts_with_all = ["upload", "download", "per_peer"])]
    reset: bool,
}

/// Some peers, by where they are.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Class {
    /// On this host or a private network
    Lan,
    /// Anywhere else
    Wan,
    /// Behind a relay
    Relay,
}

pub(super) async fn run(reach: Reach<'_>, options: Options) -> anyhow::Result<()> {
    let client = reach.daemon().await?;
    let rates = if options.reset {
        client.reset_rates().await?
    } else if options.changes_something() {
        let limits = options.change(client.rates().await?.limits);
        let for_s = options.lasts.map(|lasts| lasts.get().as_secs().max(1));
        client.set_rates(&NewRates { limits, for_s }).await?
    } else {
        client.rates().await?
    };
    Ok(reach.out.either(&rates, || shown(&rates))?)
}

impl Options {
    fn changes_something(&self) -> bool {
        self.upload.is_some() || self.download.is_some() || self.per_peer.is_some() || self.lasts.is_some()
    }

    fn change(&self, mut limits: RateLimits) -> RateLimits {
        let new = |given: Option<Limit>, old| given.map_or(old, |limit| limit.0.map(Rate::get));
        let class = match self.of {
            Some(Class::Lan) => &mut limits.lan,
            Some(Class::Wan) => &mut limits.wan,
            Some(Class::Relay) => &mut limits.relay,
            None => {
                limits.upload = new(self.upload, limits.upload);
                limits.download = new(self.download, limits.download);
                limits.per_peer = new(self.per_peer, limits.per_peer);
                return limits;
            }
        };
        *class = ClassLimits {
            upload: new(self.upload, class.upload),
            download: new(self.download, class.download),
            per_peer: new(self.per_peer, class.per_peer),
        };
        limits
    }
}

fn shown(rates: &Rates) -> String {
    let limit = |bytes: Option<u64>| Limit(bytes.map(Rate)).to_string();
    let row = |name: &str, limits: &ClassLimits| {
        [
            name.to_owned(),
            limit(limits.upload),
            limit(limits.download),
            limit(limits.per_peer),
        ]
    };
    let limits = &rates.limits;
    let all = ClassLimits {
        upload: limits.upload,
        download: limits.download,
        per_peer: limits.per_peer,
    };
    let rows = vec![
        row("all", &all),
        row("lan", &limits.lan),
        row("wan", &limits.wan),
        row("relay", &limits.relay),
        [
            "now".to_owned(),
            format!("{}/s", size(rates.upload)),
            format!("{}/s", size(rates.download)),
            String::new(),
        ],
    ];
    table(["", "upload", "download", "per peer"], rows, true) + &origin(rates)
}

/// Where the limits come from, for a person.
pub(super) fn origin(rates: &Rates) -> String {
    let ends = rates.ends_in_s.map(|left| span(Duration::from_secs(left)));
    match (rates.origin, &rates.schedule, ends) {
        (RatesOrigin::Configuration, ..) => "as configured".to_owned(),
        (RatesOrigin::Schedule, name, _) => {
            format!("as the schedule {:?} says", name.as_deref().unwrap_or_default())
        }
        (RatesOrigin::Live, _, Some(left)) => format!("changed while running, for another {left}"),
        (RatesOrigin::Live, _, None) => "changed while running, until the daemon stops".to_owned(),
    }
}

/// One line of `cardume status`.
pub(super) fn summary(rates: &Rates) -> String {
    let limit = |bytes: Option<u64>| Limit(bytes.map(Rate)).to_string();
    format!(
        "up {}/s of {}, down {}/s of {}; {}",
        size(rates.upload),
        limit(rates.limits.upload),
        size(rates.download),
        limit(rates.limits.download),
        origin(rates)
    )
}
