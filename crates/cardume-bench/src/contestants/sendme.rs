//! sendme: a command on each side, and QUIC between them.

use std::{fs, path::PathBuf};

use anyhow::Context;

use super::{Contestant, Fetcher, Giver, Killed, Offer, Source, Wanted};
use crate::{content::Content, place::Place, watch::Watch, workload::Workload};

pub(super) struct Sendme;

impl Contestant for Sendme {
    fn name(&self) -> &'static str {
        "sendme"
    }

    fn needs(&self) -> Vec<PathBuf> {
        vec!["sendme".into()]
    }

    fn can(&self, workload: Workload) -> bool {
        // It knows no second source of the same content, and sends no ranges.
        matches!(
            workload,
            Workload::W1 | Workload::W3 | Workload::W4 | Workload::W6
        )
    }

    fn source(&self, place: &Place, content: &Content) -> anyhow::Result<Box<dyn Source>> {
        // Its store is made where it is started.
        let directory = tempfile::tempdir_in(content.path.parent().context("content lies in a directory")?)?;
        let at = place.free()?;
        let mut command = place.command("sendme");
        command
            .args([
                "send",
                "--relay=disabled",
                "--no-progress",
                "--ticket-type=addresses",
            ])
            .arg(format!("--magic-ipv4-addr={at}"))
            .arg(&content.path)
            .current_dir(directory.path());
        let (process, what) = Killed::start_saying(&mut command, "sendme receive")?;
        let is_udp = true;
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

struct Taker {
    place: Place,
}

impl Fetcher for Taker {
    fn fetch(&mut self, watch: &Watch, wanted: &Wanted<'_>) -> anyhow::Result<()> {
        let into = wanted.to.with_extension("sendme");
        fs::create_dir(&into)?;
        let mut command = self.place.command("sendme");
        command
            .args(["receive", "--relay=disabled", "--no-progress"])
            .arg(&wanted.offers.first().context("an offer")?.what)
            .current_dir(&into);
        watch.run(&mut command)?;
        Ok(fs::rename(into.join("content"), wanted.to)?)
    }
}
