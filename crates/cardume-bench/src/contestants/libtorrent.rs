//! BitTorrent, as libtorrent-rasterbar speaks it, from Python.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use super::{Contestant, Fetcher, Giver, Killed, Offer, Source, Wanted};
use crate::{content::Content, place::Place, watch::Watch, workload::Workload};

/// The interpreter of the system, for which Debian packages the library.
const PYTHON: &str = "/usr/bin/python3";
/// Where Debian puts what it knows of the library.
const PACKAGE: &str = "/usr/share/doc/python3-libtorrent/copyright";
const SCRIPT: &str = include_str!("libtorrent.py");

pub(super) struct Libtorrent;

impl Contestant for Libtorrent {
    fn name(&self) -> &'static str {
        "libtorrent"
    }

    fn needs(&self) -> Vec<PathBuf> {
        vec![PYTHON.into(), PACKAGE.into(), "mktorrent".into()]
    }

    fn can(&self, workload: Workload) -> bool {
        matches!(
            workload,
            Workload::W1 | Workload::W2 | Workload::W3 | Workload::W3b | Workload::W4 | Workload::W6
        )
    }

    fn source(&self, place: &Place, content: &Content) -> anyhow::Result<Box<dyn Source>> {
        let directory = tempfile::tempdir()?;
        let torrent = directory.path().join("torrent");
        let made = Command::new("mktorrent")
            .args(["-l", "20", "-o"])
            .arg(&torrent)
            .arg(&content.path)
            .output()?;
        ensure!(
            made.status.success(),
            "mktorrent: {}",
            String::from_utf8_lossy(&made.stdout)
        );
        let at = place.free()?;
        let from = content.path.parent().context("content lies in a directory")?;
        let (process, _) = Killed::start_saying(&mut peer(place, "seed", at, &torrent, from), "ready")?;
        let (what, is_udp) = (torrent.display().to_string(), false);
        Ok(Box::new(Giver {
            process,
            offer: Offer { what, at, is_udp },
            _directory: Some(directory),
        }))
    }

    fn fetcher(&self, place: &Place, _: &Content) -> anyhow::Result<Box<dyn Fetcher>> {
        Ok(Box::new(Taker { place: place.clone() }))
    }
}

fn peer(place: &Place, role: &str, at: SocketAddr, torrent: &Path, directory: &Path) -> Command {
    let mut command = place.command(PYTHON);
    command.args(["-c", SCRIPT, role, &at.to_string()]);
    command.arg(torrent).arg(directory);
    command
}

struct Taker {
    place: Place,
}

impl Fetcher for Taker {
    fn fetch(&mut self, watch: &Watch, wanted: &Wanted<'_>) -> anyhow::Result<()> {
        let into = wanted.to.with_extension("libtorrent");
        let offer = wanted.offers.first().context("an offer")?;
        let torrent = Path::new(&offer.what);
        let mut command = peer(&self.place, "fetch", self.place.free()?, torrent, &into);
        command.args(wanted.offers.iter().map(|offer| offer.at.to_string()));
        watch.run(&mut command)?;
        Ok(fs::rename(into.join("content"), wanted.to)?)
    }
}
