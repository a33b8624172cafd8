//! Work that keeps the store well: broken content made whole, garbage collected, sizes added up.
use std::time::Duration;

use cardume_api::{Broken, Collected, Measured, NewRepair, Outcome, Phase, Repaired, Taken};
use cardume_content::Cid;
use cardume_exchange::Mend;
use cardume_store::{Progress as _, Remedy, Store};
use tokio::sync::watch;

use super::{
    Ticket,
    fetch::into_progress,
    hash::{MAX_TOLD, Meter, on_disk, told},
};
use crate::problem::Result;

/// Directories that are broken hide what is below them: each round finds what the last has uncovered.
const ROUNDS: usize = 32;
/// How often a collection is tried while something is being taken in, and the pause between.
const TRIES: usize = 40;
const PAUSE: Duration = Duration::from_millis(250);

/// Verifies one root or everything, and gets what is broken from peers.
pub(crate) async fn repair(
    ticket: Ticket,
    store: Store,
    exchange: cardume_exchange::Handle,
    cid: Option<Cid>,
    how: NewRepair,
) -> Result<Outcome> {
    let mut repair = Repair {
        ticket,
        store,
        exchange,
        how,
        done: Repaired::default(),
    };
    for _ in 0..ROUNDS {
        let store = repair.store.clone();
        let work = move |meter: &Meter| Ok(store.verify(cid, meter)?);
        let verified = on_disk(repair.ticket.clone(), Phase::Hashing, work).await?;
        repair.done.blobs = verified.blobs;
        repair.done.bytes += verified.bytes;
        repair.done.left.clear();
        if verified.broken.is_empty() || !repair.round(verified.broken).await? {
            break;
        }
    }
    repair.done.left.truncate(MAX_TOLD);
    Ok(Outcome::Repaired(repair.done))
}

struct Repair {
    ticket: Ticket,
    store: Store,
    exchange: cardume_exchange::Handle,
    how: NewRepair,
    done: Repaired,
}

impl Repair {
    /// Mends what can be; whether a directory is among it, so that there may be more to find.
    async fn round(&mut self, broken: Vec<cardume_store::Broken>) -> Result<bool> {
        let mut uncovered = false;
        let mut roots: Vec<Option<Cid>> = broken.iter().map(|broken| broken.root).collect();
        roots.dedup();
        for root in roots {
            let of_root = broken.iter().filter(|broken| broken.root == root);
            uncovered |= self.root(root, of_root.cloned().collect()).await?;
        }
        self.exchange.sync().await?;
        Ok(uncovered)
    }

    async fn root(&mut self, root: Option<Cid>, broken: Vec<cardume_store::Broken>) -> Result<bool> {
        let (store, overwrite) = (self.store.clone(), self.how.overwrite);
        let prepare = move |meter: &Meter| {
            let mut remedies = Vec::with_capacity(broken.len());
            for broken in broken {
                if !meter.advance(0, 0) {
                    return Err(cardume_store::ReadError::Cancelled.into());
                }
                let remedy = store
                    .prepare_repair(&broken, overwrite)
                    .unwrap_or_else(|error| Remedy::Left(error.to_string()));
                remedies.push((broken, remedy));
            }
            Ok(remedies)
        };
        let remedies = on_disk(self.ticket.clone(), Phase::Hashing, prepare).await?;
        let mut wanted = Vec::new();
        for (mut broken, remedy) in remedies {
            match remedy {
                Remedy::Whole => self.mended(),
                Remedy::Fetch(target) => wanted.push((broken, target)),
                Remedy::Left(reason) => {
                    broken.reason = reason;
                    self.done.left.push(told(broken));
                }
            }
        }
        match root {
            Some(root) if !wanted.is_empty() => self.fetch(root, wanted).await,
            _ => Ok(false),
        }
    }

    async fn fetch(
        &mut self,
        root: Cid,
        wanted: Vec<(cardume_store::Broken, cardume_store::Target)>,
    ) -> Result<bool> {
        let mends = wanted.iter().map(|(broken, target)| Mend {
            cid: broken.cid,
            size: broken.size,
            target: target.clone(),
        });
        let (sender, mut progress) = watch::channel(cardume_exchange::Progress::default());
        let exchange = self.exchange.clone();
        let repairing = exchange.repair(root, self.how.peers.clone(), mends.collect(), sender);
        tokio::pin!(repairing);
        let cancel = self.ticket.cancellation().clone();
        let repaired = loop {
            tokio::select! {
                biased;
                repaired = &mut repairing => break repaired?,
                () = cancel.cancelled() => return Err(cardume_exchange::FetchError::Cancelled.into()),
                Ok(()) = progress.changed() => {
                    let now = progress.borrow_and_update().clone();
                    self.ticket.advance(into_progress(now));
                }
            }
        };
        self.done.fetched += progress.borrow().fetched;
        let mut uncovered = false;
        for (broken, _) in wanted {
            if repaired.contains(&broken.cid) {
                self.mended();
                uncovered |= broken.cid.kind() == cardume_content::Kind::Directory;
            } else {
                let reason = format!("{}; no peer that was found has it", broken.reason);
                self.done.left.push(Broken {
                    reason,
                    ..told(broken)
                });
            }
        }
        Ok(uncovered)
    }

    fn mended(&mut self) {
        self.done.repaired += 1;
        self.done.blobs += 1;
    }
}

/// Deletes what nothing needs, in steps between which everything else goes on.
pub(crate) async fn collect(ticket: Ticket, store: Store) -> Result<Outcome> {
    let mut all = Collected::default();
    for _ in 0..TRIES {
        let store = store.clone();
        let work = move |meter: &Meter| Ok(store.collect(meter)?);
        let collected = on_disk(ticket.clone(), Phase::Collecting, work).await?;
        all.blobs += collected.blobs;
        all.bytes += collected.bytes;
        all.more = collected.more;
        if !all.more {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = ticket.cancellation().cancelled() => return Err(cardume_exchange::FetchError::Cancelled.into()),
        }
    }
    Ok(Outcome::Collected(all))
}

/// Adds up what one root takes, or every root.
pub(crate) async fn measure(ticket: Ticket, store: Store, cid: Option<Cid>) -> Result<Outcome> {
    let quota = store.quota();
    let work = move |meter: &Meter| {
        let roots = store.measure(cid, meter)?;
        Ok((store.usage()?, roots))
    };
    let (usage, roots) = on_disk(ticket, Phase::Measuring, work).await?;
    Ok(Outcome::Measured(Measured {
        data: usage.content,
        in_place: usage.in_place,
        metadata: usage.metadata,
        quota,
        roots: roots.into_iter().map(taken).collect(),
    }))
}

fn taken(taken: cardume_store::Taken) -> Taken {
    Taken {
        cid: taken.cid,
        name: taken.name,
        blobs: taken.blobs,
        missing: taken.missing,
        data: taken.data,
        in_place: taken.in_place,
        metadata: taken.metadata,
        shared: taken.shared,
    }
}
