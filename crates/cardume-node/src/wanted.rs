//! What configuration wants fetched: brought to its place, and brought back when it goes missing.

use std::{collections::BTreeMap, path::Path};

use cardume_api::{WantedFetch, WantedState};
use cardume_content::Link;
use cardume_control::Wanted as Board;
use cardume_exchange::{Destination, FetchError, FetchRequest, Progress};
use cardume_roster::Work;
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use tokio_util::sync::CancellationToken;

use crate::{
    StartError,
    config::Fetch,
    places::{FIRST_PAUSE, LAST_PAUSE, LOOK, LOOK_THROUGH, Places, There, Want, jittered, look},
};

/// Brings what configuration wants to its place. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetches {
    pub(crate) places: Places,
    pub(crate) board: Board,
}

/// Reads the links of what configuration wants.
///
/// # Errors
/// `Config` for one that is none.
pub(crate) fn wants(wanted: &BTreeMap<String, Fetch>) -> Result<BTreeMap<String, Want>, StartError> {
    let read = |(name, fetch): (&String, &Fetch)| {
        let link: Link = fetch.from.parse().map_err(|error| StartError::Config {
            key: "fetch",
            reason: format!("{name}.from is no link: {error}"),
        })?;
        let (to, allow) = (fetch.to.clone(), fetch.allow.clone());
        Ok((name.clone(), Want { link, to, allow }))
    };
    let content = wanted.iter().filter(|(_, fetch)| fetch.channel().is_none());
    content.map(read).collect()
}

impl Work<String, Want> for Fetches {
    fn run(&self, name: String, want: Want, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let row = WantedFetch {
            name: name.clone(),
            cid: want.link.cid,
            to: want.to.to_string_lossy().into_owned(),
            state: WantedState::Wanted,
            done: 0,
            size: want.link.size.unwrap_or(0),
            problem: None,
        };
        self.board.set(&name, row);
        let this = self.clone();
        async move {
            let converging = this.converge(&name, &want);
            stop.run_until_cancelled(converging).await;
        }
        .boxed()
    }

    fn gone(&self, name: String) -> BoxFuture<'static, ()> {
        self.board.remove(&name);
        ready(()).boxed()
    }
}

impl Fetches {
    /// Brings one thing to its place again and again.
    async fn converge(&self, name: &str, want: &Want) {
        let mut pause = FIRST_PAUSE;
        loop {
            let before = look(&want.to).await;
            let (ended, is_wrong) = match self.places.there(want).await {
                There::Right(size) => (Ok(size), false),
                There::Wrong(reason) => (Err(reason), true),
                There::Unsure(reason) => (Err(reason), false),
                There::Nothing => match self.fetch(name, want).await {
                    Err(FetchError::Closed) => return,
                    // Somebody was faster: what it is will be seen.
                    Err(FetchError::Exists { .. }) => continue,
                    ended => (ended.map_err(|error| error.to_string()), false),
                },
            };
            match ended {
                Ok(size) => {
                    tracing::info!(fetch = name, cid = %want.link.cid, to = %want.to.display(), "present");
                    self.board.change(name, |row| {
                        (row.state, row.done, row.size, row.problem) =
                            (WantedState::Present, size, size, None);
                    });
                    pause = FIRST_PAUSE;
                    self.changed(&want.to).await;
                }
                Err(reason) => {
                    tracing::warn!(fetch = name, to = %want.to.display(), reason, "not there yet");
                    self.board.change(name, |row| {
                        (row.state, row.problem) = (WantedState::Failed, Some(reason));
                    });
                    if is_wrong && look(&want.to).await == before && before.is_some() {
                        // Reading it again would say the same.
                        self.changed(&want.to).await;
                    } else {
                        tokio::time::sleep(jittered(pause)).await;
                        pause = (pause * 2).min(LAST_PAUSE);
                    }
                }
            }
        }
    }

    /// Waits until a place looks otherwise, or is due to be looked through.
    async fn changed(&self, to: &Path) {
        let before = look(to).await;
        let due = tokio::time::Instant::now() + LOOK_THROUGH;
        while tokio::time::Instant::now() < due {
            tokio::time::sleep(LOOK).await;
            if look(to).await != before {
                return;
            }
        }
    }

    /// Fetches it, and tells how far it is; how many bytes it has.
    async fn fetch(&self, name: &str, want: &Want) -> Result<u64, FetchError> {
        let parent = want.to.parent().map(Path::to_owned).unwrap_or_default();
        if look(&parent).await.is_none() {
            let reason = "no such directory; make it, or mount what belongs there".into();
            return Err(FetchError::Io { path: parent, reason });
        }
        let link = &want.link;
        let destination = Destination::Path {
            path: want.to.clone(),
            force: false,
        };
        let request = FetchRequest {
            path: link.path.clone(),
            peers: link.peers.clone(),
            origins: cardume_exchange::origins(link),
            name: link.name.clone(),
            allow: want.allow.clone(),
            ..FetchRequest::new(link.cid, destination)
        };
        let mut begun = None;
        let told = |now: &Progress| {
            if now.size == 0 {
                return;
            }
            // What came in an earlier try says nothing of this one: it has failed until something comes.
            let is_coming = now.done > *begun.get_or_insert(now.done);
            self.board.change(name, |row| {
                (row.done, row.size) = (now.done, now.size);
                if is_coming {
                    row.state = WantedState::Fetching;
                }
            });
        };
        Ok(self.places.fetch(request, told).await?.size)
    }
}
