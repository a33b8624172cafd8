//! Places that follow channels: the newest version is brought beside the old one, and takes its place in one step.

mod gone;
mod turn;

use std::{path::PathBuf, time::Duration};

use cardume_api::{Follow as Row, FollowState};
use cardume_channel::{Follow, Record, versions::Versions};
use cardume_control::Follows as Board;
use cardume_roster::Work;
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::turn::Ended;
use crate::places::{FIRST_PAUSE, LAST_PAUSE, LOOK, LOOK_THROUGH, Places, jittered, look};

/// Keeps places at the newest versions of channels. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Follows {
    pub(crate) channels: cardume_channel::Handle,
    pub(crate) places: Places,
    pub(crate) board: Board,
}

/// One of them.
struct Follower<'a> {
    name: &'a str,
    follow: &'a Follow,
    versions: Versions,
    channels: &'a cardume_channel::Handle,
    places: &'a Places,
    board: &'a Board,
}

impl Work<String, Follow> for Follows {
    fn run(&self, name: String, follow: Follow, stop: CancellationToken) -> BoxFuture<'static, ()> {
        self.board.set(&name, row(&name, &follow));
        let this = self.clone();
        let following = async move {
            let versions = opened(&name, &follow, &this.board).await;
            let follower = Follower {
                name: &name,
                follow: &follow,
                versions,
                channels: &this.channels,
                places: &this.places,
                board: &this.board,
            };
            follower.run().await;
        };
        stop.run_until_cancelled_owned(following).map(drop).boxed()
    }

    fn gone(&self, name: String) -> BoxFuture<'static, ()> {
        self.board.remove(&name);
        ready(()).boxed()
    }
}

/// The versions of a place, as soon as the directory that it is in is there.
async fn opened(name: &str, follow: &Follow, board: &Board) -> Versions {
    loop {
        let (to, mode) = (follow.to.clone(), follow.mode);
        let opened = tokio::task::spawn_blocking(move || Versions::new(&to, mode)).await;
        match opened.expect("looking for a directory does not panic") {
            Ok(versions) => return versions,
            Err(error) => {
                let above = follow.to.parent().unwrap_or(&follow.to).display();
                let problem = format!("{above}: {error}; make it, or mount what belongs there");
                board.change(name, |row| {
                    (row.state, row.problem) = (FollowState::Failed, Some(problem));
                });
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

fn row(name: &str, follow: &Follow) -> Row {
    Row {
        name: name.to_owned(),
        channel: follow.channel.to_string(),
        to: follow.to.to_string_lossy().into_owned(),
        state: FollowState::Waiting,
        newest: None,
        wanted: None,
        wanted_cid: None,
        present: None,
        present_cid: None,
        held: None,
        behind_since: None,
        lag_s: 0,
        versions: Vec::new(),
        done: 0,
        size: 0,
        fetched: 0,
        problem: None,
    }
}

impl Follower<'_> {
    async fn run(self) {
        let Some(mut newest) = self.channels.newest(self.follow.channel) else {
            return;
        };
        let mut decided = self.channels.decided();
        let mut pause = FIRST_PAUSE;
        // Whether what is there has been looked through since the start.
        let mut looked_through = None;
        loop {
            decided.mark_unchanged();
            let record = newest.borrow_and_update().clone();
            let due = looked_through.is_none_or(|at: tokio::time::Instant| at.elapsed() >= LOOK_THROUGH);
            let changed = match self.turn(record, due, (newest.clone(), decided.clone())).await {
                Ok(Ended::Waiting) => self.change(&mut newest, &mut decided, None).await,
                Ok(Ended::Superseded) => true,
                Ok(Ended::Present(path)) => {
                    pause = FIRST_PAUSE;
                    if due {
                        looked_through = Some(tokio::time::Instant::now());
                    }
                    self.moved(path, &mut newest, &mut decided).await
                }
                Err(reason) => {
                    tracing::warn!(follow = self.name, to = %self.follow.to.display(), reason, "not there yet");
                    self.board.change(self.name, |row| {
                        (row.state, row.problem) = (FollowState::Failed, Some(reason));
                    });
                    let wait = jittered(pause);
                    pause = (pause * 2).min(LAST_PAUSE);
                    self.change(&mut newest, &mut decided, Some(wait)).await
                }
            };
            if !changed {
                return;
            }
        }
    }

    /// Waits until something else may be wanted, or for as long as `limit`; `false` when the node stops.
    async fn change(
        &self,
        newest: &mut watch::Receiver<Option<Record>>,
        decided: &mut watch::Receiver<()>,
        limit: Option<Duration>,
    ) -> bool {
        let late = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = newest.changed() => changed.is_ok(),
            changed = decided.changed() => changed.is_ok(),
            () = late => true,
        }
    }

    /// Waits until something else may be wanted, or what is there looks otherwise, or is due to be looked through.
    async fn moved(
        &self,
        version: PathBuf,
        newest: &mut watch::Receiver<Option<Record>>,
        decided: &mut watch::Receiver<()>,
    ) -> bool {
        let before = (look(self.versions.place()).await, look(&version).await);
        let due = tokio::time::Instant::now() + LOOK_THROUGH;
        while tokio::time::Instant::now() < due {
            tokio::select! {
                changed = self.change(newest, decided, None) => return changed,
                () = tokio::time::sleep(LOOK) => {}
            }
            if (look(self.versions.place()).await, look(&version).await) != before {
                return true;
            }
        }
        true
    }
}
