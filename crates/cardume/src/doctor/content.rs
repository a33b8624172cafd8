//! A sample of the store.
use cardume_api::{Outcome, State as Progress};

use super::{Daemon, Finding, Patient};
use crate::text::{count, size};

/// Roots hashed anew.
const SAMPLE: usize = 8;

/// Bytes hashed anew, together: a second or so.
const BYTES: u64 = 256 << 20;

pub(super) async fn look(patient: &Patient) -> Option<Finding> {
    let daemon = patient.daemon.as_ref()?;
    if let Some(problem) = daemon
        .status
        .store
        .as_ref()
        .and_then(|store| store.problem.as_ref())
    {
        let remedy = "mend the disk, and start the daemon again";
        return Some(Finding::wrong(
            "store",
            format!("it takes nothing in: {problem}"),
            remedy,
        ));
    }
    Some(match sample(daemon).await {
        Ok(finding) => finding,
        Err(error) => Finding::note("store", format!("no sample could be hashed: {error:#}")),
    })
}

async fn sample(daemon: &Daemon) -> anyhow::Result<Finding> {
    let mut files = daemon.client.files().await?;
    files.sort_by_key(|file| file.size);
    let (mut bytes, mut roots, mut broken) = (0, 0, Vec::new());
    for file in files.iter().take(SAMPLE) {
        if bytes + file.size > BYTES {
            break;
        }
        let operation = daemon.client.verify(Some(file.cid)).await?;
        let ended = daemon.client.wait(&operation, |_| {}).await?;
        if let (Progress::Done, Some(Outcome::Verified(verified))) = (ended.state, ended.result) {
            bytes += file.size;
            roots += 1;
            broken.extend(verified.broken.iter().map(|blob| blob.cid.to_string()));
        }
    }
    if broken.is_empty() {
        let (roots, all) = (count(roots, "root"), files.len());
        let what = format!("{roots} of {all} hashed anew, {}, all as they were", size(bytes));
        return Ok(Finding::ok("store", what));
    }
    let what = format!("what does not verify: {}", broken.join(" "));
    let remedy = "`cardume file verify` tells all of it, `cardume file repair` gets it again from peers";
    Ok(Finding::wrong("store", what, remedy))
}
