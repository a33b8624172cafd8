//! How each workload is run.

mod channel;
mod gossip;
mod idle;
mod killed;
mod liars;
mod net;
mod rates;
mod restart;
mod share;
mod strangers;
mod transfer;

use std::path::Path;

pub use self::strangers::come;

use crate::{
    content::Content,
    contestants::{self, Contestant},
    figures::Measured,
    workload::{Scale, Workload},
};

/// Does a workload once; the path is a directory for what comes of it.
type Run<'a> = Box<dyn Fn(&Path) -> anyhow::Result<Measured> + 'a>;

/// One that takes part in a workload.
pub struct Entry<'a> {
    /// Its name.
    pub name: String,
    /// What it does; the path is a directory for what comes of it.
    pub run: Run<'a>,
}

/// What a run needs to know.
pub struct Setting<'a> {
    /// The workload.
    pub workload: Workload,
    /// How much of it.
    pub scale: Scale,
    /// What is moved or shared.
    pub content: &'a Content,
    /// The node that is measured.
    pub program: &'a Path,
    /// Seconds of the idle minute, and of messages.
    pub idle: u64,
}

impl Setting<'_> {
    /// How often the content is written in one run.
    pub(crate) fn copies(&self) -> u64 {
        let (_, fetchers) = self.workload.crowd(self.scale);
        fetchers as u64
    }
}

/// Everybody that can do this workload, installed or not, by name and with the programs it takes.
pub fn entries<'a>(
    setting: &'a Setting<'a>,
    contestants: &'a [Box<dyn Contestant>],
) -> Vec<(Vec<std::path::PathBuf>, Entry<'a>)> {
    let node = || vec![setting.program.to_path_buf()];
    match setting.workload {
        Workload::W5 | Workload::W5Tree => vec![
            (node(), entry("cardume", |_| share::cardume(setting))),
            (vec!["b3sum".into()], entry("b3sum", |_| share::b3sum(setting))),
        ],
        Workload::W7 => vec![(node(), entry("cardume", |to| killed::run(setting, to)))],
        Workload::Channel => {
            let mut all = vec![(node(), entry("cardume", |_| channel::run(setting)))];
            let own = contestants
                .iter()
                .find(|contestant| contestant.name() == "cardume");
            all.extend(own.map(|own| {
                let run = |to: &Path| transfer::run(own.as_ref(), setting, to);
                (own.needs(), entry(channel::ALONE, run))
            }));
            all
        }
        Workload::Gossip => vec![(node(), entry("cardume", |_| gossip::run(setting)))],
        Workload::W8 => vec![(node(), entry("cardume", |_| idle::run(setting)))],
        Workload::Rates => rates::Limit::ALL
            .into_iter()
            .map(|(name, limit)| (node(), entry(name, move |to| rates::run(setting, limit, to))))
            .collect(),
        Workload::Liars => liars::MANNERS
            .into_iter()
            .map(|(name, manner)| (node(), entry(name, move |to| liars::run(setting, manner, to))))
            .collect(),
        Workload::Strangers => strangers::WAYS
            .into_iter()
            .map(|(name, way)| (node(), entry(name, move |_| strangers::run(setting, way))))
            .collect(),
        Workload::Restart => restart::How::ALL
            .into_iter()
            .map(|(name, how)| (node(), entry(name, move |_| restart::run(setting, how))))
            .collect(),
        Workload::Net => vec![
            (
                Vec::new(),
                entry("cardume", |_| net::run(setting, net::Path::Tcp)),
            ),
            (
                Vec::new(),
                entry("rustls", |_| net::run(setting, net::Path::Rustls)),
            ),
        ],
        Workload::NetQuic => vec![
            (
                Vec::new(),
                entry("cardume-quic", |_| net::run(setting, net::Path::Quic)),
            ),
            (
                Vec::new(),
                entry("quinn", |_| net::run(setting, net::Path::Quinn)),
            ),
        ],
        _ => {
            let able = contestants
                .iter()
                .filter(|contestant| contestant.can(setting.workload));
            able.map(|contestant| {
                let run = |to: &Path| transfer::run(contestant.as_ref(), setting, to);
                (contestant.needs(), entry(contestant.name(), run))
            })
            .collect()
        }
    }
}

fn entry<'a>(name: &str, run: impl Fn(&Path) -> anyhow::Result<Measured> + 'a) -> Entry<'a> {
    Entry {
        name: name.to_owned(),
        run: Box::new(run),
    }
}

/// Everyone who may stand in a table, for the command line.
pub fn names() -> Vec<&'static str> {
    let all = contestants::all(Path::new("cardume"));
    let mut names: Vec<_> = all.iter().map(|contestant| contestant.name()).collect();
    names.extend(["b3sum", "rustls", "quinn", channel::ALONE]);
    names.extend(rates::Limit::ALL.map(|(name, _)| name));
    names.extend(liars::MANNERS.map(|(name, _)| name));
    names.extend(strangers::WAYS.map(|(name, _)| name));
    names.extend(restart::How::ALL.map(|(name, _)| name));
    names
}
