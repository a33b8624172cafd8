//! From sources to fetchers.

use std::{ops::Range, path::Path, time::Instant};

use anyhow::{Context, ensure};
use cardume_testkit::line::{Carrier, Line};

use super::Setting;
use crate::{
    content::{self, Shape},
    contestants::{Contestant, Fetcher, Offer, Source, Wanted},
    figures::Measured,
    place::Places,
    watch::Watch,
    workload::Workload,
};

/// Bytes read in the middle of a file.
const READ: u64 = 1 << 20;

/// Starts sources and fetchers, has all fetch at once, and checks what arrived.
pub(super) fn run(contestant: &dyn Contestant, setting: &Setting<'_>, to: &Path) -> anyhow::Result<Measured> {
    let (sources, fetchers) = setting.workload.crowd(setting.scale);
    // Bytes are counted where they may be fewer than one copy for each fetcher.
    let places = match setting.workload {
        Workload::W3 | Workload::W3b | Workload::Channel => Places::counted()?,
        _ => Places::default(),
    };
    let giving = (0..sources).map(|_| contestant.source(&places.source, setting.content));
    let giving: Vec<Box<dyn Source>> = giving.collect::<anyhow::Result<_>>()?;
    let taking = (0..fetchers).map(|_| contestant.fetcher(&places.fetcher, setting.content));
    let mut taking: Vec<Box<dyn Fetcher>> = taking.collect::<anyhow::Result<_>>()?;
    let mut offers: Vec<Offer> = giving.iter().map(|source| source.offer()).collect();
    let line = setting.workload.line();
    let carriers = line.map(|line| put_between(line, &mut offers)).transpose()?;
    let processes: Vec<u32> = giving.iter().flat_map(|source| source.processes()).collect();
    let range = range(setting);
    // What others have left to be written would be written during this run.
    rustix::fs::sync();
    let sent = || places.source.sent(*processes.first().context("a process")?);
    let before = sent()?;
    let own: Vec<u32> = taking.iter().flat_map(|fetcher| fetcher.processes()).collect();
    let watch = Watch::begin(&processes, &own)?;
    let times = fetch_all(&mut taking, &watch, &offers, range.as_ref(), to)?;
    let (source, fetcher) = watch.end()?;
    let sent = before.zip(sent()?).map(|(before, after)| after - before);
    let whole = setting.content.shape().bytes();
    let bytes = range.as_ref().map_or(whole, |range| range.end - range.start);
    let carried = carriers.map(|carriers| carriers.iter().map(Carrier::carried).sum::<u64>());
    ensure!(
        carried.is_none_or(|carried| carried >= bytes),
        "it went another way than the line"
    );
    let seconds = times.iter().copied().fold(0.0, f64::max);
    for index in 0..fetchers {
        let path = to.join(index.to_string());
        match &range {
            None => setting.content.check(&path)?,
            Some(range) => check_range(&path, range)?,
        }
        content::clear(&path)?;
    }
    Ok(Measured {
        bytes: bytes * fetchers as u64,
        seconds,
        first: (fetchers > 1).then(|| times.iter().copied().fold(f64::INFINITY, f64::min)),
        source: Some(source),
        fetcher: Some(fetcher),
        sent: sent.map(|sent| sent as f64 / bytes as f64),
        line: line.map(|line| bytes as f64 / seconds / line.rate as f64),
        ..Measured::default()
    })
}

/// Has every offer name a carrier's address instead of the source's.
fn put_between(line: Line, offers: &mut [Offer]) -> anyhow::Result<Vec<Carrier>> {
    let carriers = offers.iter_mut().map(|offer| {
        let carrier = match offer.is_udp {
            true => line.udp(offer.at)?,
            false => line.tcp(offer.at)?,
        };
        offer.at = carrier.at;
        Ok(carrier)
    });
    carriers.collect()
}

/// Has all of them fetch at once; returns how long each took.
fn fetch_all(
    fetchers: &mut [Box<dyn Fetcher>],
    watch: &Watch,
    offers: &[Offer],
    range: Option<&Range<u64>>,
    to: &Path,
) -> anyhow::Result<Vec<f64>> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let running = fetchers.iter_mut().enumerate().map(|(index, fetcher)| {
            scope.spawn(move || -> anyhow::Result<f64> {
                let to = to.join(index.to_string());
                let range = range.cloned();
                fetcher.fetch(
                    watch,
                    &Wanted {
                        offers,
                        to: &to,
                        range,
                    },
                )?;
                Ok(began.elapsed().as_secs_f64())
            })
        });
        let running: Vec<_> = running.collect();
        let ended = running
            .into_iter()
            .map(|one| one.join().expect("fetching does not panic"));
        ended.collect()
    })
}

fn range(setting: &Setting<'_>) -> Option<Range<u64>> {
    match (setting.workload, setting.content.shape()) {
        (Workload::W9, Shape::File(size)) => {
            let start = size / 2;
            Some(start..size.min(start + READ))
        }
        _ => None,
    }
}

fn check_range(path: &Path, range: &Range<u64>) -> anyhow::Result<()> {
    let (size, expected) = (std::fs::metadata(path)?.len(), range.end - range.start);
    ensure!(size == expected, "{size} bytes of {expected} arrived");
    Ok(())
}
