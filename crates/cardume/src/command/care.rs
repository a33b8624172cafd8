//! `cardume file repair`, `gc` and `du`
use cardume_api::{Broken, Client, Code, Collected, Measured, NewRepair, Outcome, Repaired, Taken};
use cardume_content::{Cid, Link};
use clap::Args;
use multiaddr::Multiaddr;

use super::wait;
use crate::{
    failure::Ended,
    out::Out,
    text::{clean, count, size, table},
};

/// Get what is broken from peers again
///
/// Hashes content anew, and of what does not verify gets again only the pieces that are wrong: files that were fetched
/// are mended where they lie. Files that were shared in place and have changed since are only told of.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cardume file repair\n  cardume file repair bafyr4i… --peer /ip4/192.0.2.1/udp/4011/quic-v1/p2p/12D3…"
)]
pub(crate) struct RepairOptions {
    /// What was shared or fetched; everything without one
    #[arg(value_name = "LINK|CID")]
    roots: Vec<Link>,
    /// Write to files that were shared in place, too: what they are now is lost
    #[arg(long)]
    overwrite: bool,
    /// Ask this peer first: an address that ends in /p2p/PEER_ID; may be repeated
    #[arg(long = "peer", value_name = "MULTIADDR")]
    peers: Vec<Multiaddr>,
}

pub(super) async fn repair(client: &Client, options: RepairOptions, out: &Out) -> anyhow::Result<()> {
    let mut all = Repaired::default();
    for (cid, peers) in each(&options.roots) {
        let how = NewRepair {
            overwrite: options.overwrite,
            peers: options.peers.iter().chain(&peers).cloned().collect(),
        };
        let Outcome::Repaired(repaired) = wait::finish(client, client.repair(cid, &how), out).await? else {
            return Err(wait::unexpected().into());
        };
        all.blobs += repaired.blobs;
        all.bytes += repaired.bytes;
        all.repaired += repaired.repaired;
        all.fetched += repaired.fetched;
        all.left.extend(repaired.left);
    }
    out.either(&all, || {
        format!(
            "{}{} repaired, {} fetched; {} all right",
            lines(&all.left),
            all.repaired,
            size(all.fetched),
            count(all.blobs, "blob")
        )
    })?;
    match all.left.len() as u64 {
        0 => Ok(()),
        left => Err(Ended::code(Code::Corrupt, format!("{} broken", stays(left))).into()),
    }
}

fn stays(number: u64) -> String {
    let verb = if number == 1 { "stays" } else { "stay" };
    format!("{} {verb}", count(number, "blob"))
}

/// Each root with the peers of its link; everything, if none is given.
fn each(roots: &[Link]) -> Vec<(Option<Cid>, Vec<Multiaddr>)> {
    match roots {
        [] => vec![(None, Vec::new())],
        roots => roots
            .iter()
            .map(|link| (Some(link.cid), link.peers.clone()))
            .collect(),
    }
}

/// Broken blobs for a person, a line each.
pub(super) fn lines(broken: &[Broken]) -> String {
    let line = |one: &Broken| {
        let path = match one.path.as_str() {
            "" => String::new(),
            path => format!("{}\t", clean(path)),
        };
        format!("{}\t{path}{}\n", one.cid, one.reason)
    };
    broken.iter().map(line).collect()
}

pub(super) async fn gc(client: &Client, out: &Out) -> anyhow::Result<()> {
    let Outcome::Collected(collected) = wait::finish(client, client.collect(), out).await? else {
        return Err(wait::unexpected().into());
    };
    out.either(&collected, || {
        let Collected { blobs, bytes, .. } = collected;
        format!("{} given back, of {}", size(bytes), count(blobs, "blob"))
    })?;
    if collected.more {
        out.say("something is being shared just now; the rest goes by itself afterwards");
    }
    Ok(())
}

pub(super) async fn du(client: &Client, root: Option<&Link>, out: &Out) -> anyhow::Result<()> {
    let Outcome::Measured(measured) =
        wait::finish(client, client.measure(root.map(|link| link.cid)), out).await?
    else {
        return Err(wait::unexpected().into());
    };
    if out.is_json() {
        return Ok(out.json(&measured)?);
    }
    let number = |bytes: u64| match out.is_terminal() {
        true => size(bytes),
        false => bytes.to_string(),
    };
    let row = |taken: &Taken| {
        [
            taken.cid.to_string(),
            number(taken.data),
            number(taken.in_place),
            number(taken.metadata),
            number(taken.shared),
            taken.missing.to_string(),
            taken.name.clone(),
        ]
    };
    let rows = measured.roots.iter().map(row).collect();
    let head = ["CID", "DATA", "IN PLACE", "METADATA", "SHARED", "MISSING", "NAME"];
    out.text(&table(head, rows, out.is_terminal()))?;
    if root.is_none() {
        out.say(total(&measured));
    }
    Ok(())
}

fn total(measured: &Measured) -> String {
    let own = measured.data.saturating_add(measured.metadata);
    let quota = measured
        .quota
        .map(|quota| format!(" of {}", size(quota)))
        .unwrap_or_default();
    format!(
        "in all {}{quota} in the store ({} of it metadata), {} in place",
        size(own),
        size(measured.metadata),
        size(measured.in_place)
    )
}
