//! What configuration has published: each time its share has come to rest as something else.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cardume_channel::share_name;
use cardume_content::Cid;
use cardume_share::Phase;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Pause before something that could not be published is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Publishes what `published` names as the shares of it change, until `stop`.
pub(crate) async fn run(
    mut published: watch::Receiver<BTreeSet<String>>,
    shares: cardume_share::Handle,
    channels: cardume_channel::Handle,
    stop: CancellationToken,
) {
    let mut states = shares.follow();
    loop {
        let settled: BTreeMap<String, (Cid, u64)> = {
            let states = states.borrow_and_update();
            let settled = |name: &String| {
                let state = states.get(&share_name(name))?;
                let cid = state.cid.filter(|_| state.phase == Phase::Shared)?;
                Some((name.clone(), (cid, state.size)))
            };
            published.borrow_and_update().iter().filter_map(settled).collect()
        };
        let mut failed = false;
        for (name, (cid, size)) in settled {
            let newest = channels.find(&name).ok().and_then(|id| channels.newest(id));
            let is_new =
                newest.is_some_and(|newest| newest.borrow().as_ref().map(|record| record.cid()) != Some(cid));
            if !is_new {
                continue;
            }
            if let Err(error) = channels.publish(name.clone(), cid, size, String::new()).await {
                tracing::error!(channel = name, %error, "cannot be published");
                failed = true;
            }
        }
        let retry = async {
            match failed {
                true => tokio::time::sleep(RETRY).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = retry => {}
            changed = states.changed() => if changed.is_err() { return },
            changed = published.changed() => if changed.is_err() { return },
        }
    }
}
