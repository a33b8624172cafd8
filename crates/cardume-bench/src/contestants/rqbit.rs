//! BitTorrent, as rqbit speaks it: over TCP, in plain text.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command};

use anyhow::Context;

use super::{Contestant, Fetcher, Giver, Killed, Offer, Source, Wanted};
use crate::{content::Content, place::Place, watch::Watch, workload::Workload};

pub(super) struct Rqbit;

impl Contestant for Rqbit {
    fn name(&self) -> &'static str {
        "rqbit"
    }

    fn needs(&self) -> Vec<PathBuf> {
        vec!["rqbit".into()]
    }

    fn can(&self, workload: Workload) -> bool {
        // Its command sends no ranges.
        matches!(
            workload,
            Workload::W1 | Workload::W2 | Workload::W3 | Workload::W3b | Workload::W4 | Workload::W6
        )
    }

    fn source(&self, place: &Place, content: &Content) -> anyhow::Result<Box<dyn Source>> {
        let at = place.free()?;
        let mut command = rqbit(place, at);
        command.arg("share").arg(&content.path);
        let (process, what) = Killed::start_saying(&mut command, "share this magnet link:")?;
        let is_udp = false;
        Ok(Box::new(Giver {
            process,
            offer: Offer { what, at, is_udp },
            _directory: None,
        }))
    }

    fn fetcher(&self, place: &Place, _: &Content) -> anyhow::Result<Box<dyn Fetcher>> {
        Ok(Box::new(Taker { place: place.clone() }))
    }
}

/// Its default settings, but for talking to nobody who was not named.
fn rqbit(place: &Place, at: SocketAddr) -> Command {
    let mut command = place.command("rqbit");
    command.args([
        "--disable-dht",
        "--disable-lsd",
        "--disable-trackers",
        "--disable-upnp-port-forward",
    ]);
    command.arg(format!("--listen-ip={}", at.ip()));
    command.arg(format!("--listen-port={}", at.port()));
    command
}

struct Taker {
    place: Place,
}

impl Fetcher for Taker {
    fn fetch(&mut self, watch: &Watch, wanted: &Wanted<'_>) -> anyhow::Result<()> {
        let into = wanted.to.with_extension("rqbit");
        let mut command = rqbit(&self.place, self.place.free()?);
        let peers: Vec<String> = wanted.offers.iter().map(|offer| offer.at.to_string()).collect();
        command
            .args(["download", "--exit-on-finish", "--disable-http-api"])
            .arg(format!("--initial-peers={}", peers.join(",")))
            .arg("--output-folder")
            .arg(&into)
            .arg(&wanted.offers.first().context("an offer")?.what);
        watch.run(&mut command)?;
        Ok(fs::rename(into.join("content"), wanted.to)?)
    }
}
