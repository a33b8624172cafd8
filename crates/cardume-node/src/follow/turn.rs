//! One look at a place that follows a channel, and all that is to be done about it.

use std::{io, path::PathBuf, time::Duration};

use cardume_api::{Follow as Row, FollowState};
use cardume_channel::{
    Mode, Record,
    update::{self, Update},
    versions::{There, Version, Versions},
};
use cardume_content::{Cid, Link};
use cardume_exchange::{Destination, FetchError, FetchRequest};
use tokio::{sync::watch, time::Instant};

use super::{Follower, gone::gone};
use crate::places::{There as Content, Want, now};

/// How long a fetch that has been overtaken by a newer version may stand still before it is given up.
const STALLED: Duration = Duration::from_secs(5);

/// What tells of newer records, and of decisions.
pub(super) type Overtaken = (watch::Receiver<Option<Record>>, watch::Receiver<()>);

/// How a look ended well.
pub(super) enum Ended {
    /// Nothing is known of the channel yet.
    Waiting,
    /// A newer version came while this one did not move on.
    Superseded,
    /// What is wanted is there: in which directory or file.
    Present(PathBuf),
}

impl Follower<'_> {
    /// Brings the place to the version that is wanted. `due` says that what is there is to be looked through whole.
    ///
    /// Whatever it has done when it is dropped, or the node is killed, the next one goes on from.
    pub(super) async fn turn(
        &self,
        newest: Option<Record>,
        due: bool,
        overtaken: Overtaken,
    ) -> Result<Ended, String> {
        let there = self
            .on_disk(|versions| versions.prepare().and_then(|()| versions.there()))
            .await;
        let there = there.map_err(|error| self.on_prepare(&error))?;
        let wanted = self.wanted(newest.as_ref()).await?;
        let present = match there {
            There::Version(version) => Some(version),
            There::Nothing => None,
            There::Coming(version) => {
                self.put(version).await?;
                Some(version)
            }
            There::Other => {
                let to = self.follow.to.display();
                return Err(format!(
                    "{to} is something else, and nothing is overwritten; move it away"
                ));
            }
        };
        self.tell(newest.as_ref(), wanted, present);
        let Some(wanted) = wanted else {
            return Ok(Ended::Waiting);
        };
        let path = match self.follow.mode {
            Mode::Symlink => self.versions.path(wanted),
            Mode::InPlace => self.versions.place().to_owned(),
        };
        let mut is_there = present == Some(wanted);
        if !is_there || due || path.symlink_metadata().is_err() {
            match self.bring(wanted, is_there, overtaken).await {
                Err(FetchError::Cancelled) => return Ok(Ended::Superseded),
                brought => is_there = brought.map_err(|error| error.to_string())?,
            }
        }
        if !is_there {
            self.put(wanted).await?;
            self.tell(newest.as_ref(), Some(wanted), Some(wanted));
        }
        let kept = self.list().await.map_err(|error| error.to_string())?;
        self.board.change(self.name, |row| {
            (row.state, row.problem, row.done) = (FollowState::Present, None, row.size);
            row.versions = numbers(&kept);
        });
        self.run_update(wanted).await?;
        self.prune(wanted).await.map_err(|error| error.to_string())?;
        Ok(Ended::Present(path))
    }

    /// The version that is to be there.
    async fn wanted(&self, newest: Option<&Record>) -> Result<Option<Version>, String> {
        let failed = |error: cardume_channel::ChannelError| error.to_string();
        let held = self.channels.held(self.name.into()).await.map_err(failed)?;
        self.board.change(self.name, |row| row.held = held);
        let of_record = |record: &Record| Version {
            number: record.number(),
            cid: record.cid(),
        };
        let Some(number) = held else {
            return Ok(newest.map(of_record));
        };
        let known = self.channels.records(self.follow.channel).await.map_err(failed)?;
        if let Some(record) = known.iter().find(|record| record.number() == number) {
            return Ok(Some(of_record(record)));
        }
        let kept = self.on_disk(Versions::list).await;
        let kept = kept.map_err(|error| error.to_string())?;
        let found = kept.into_iter().find(|version| version.number == number);
        let found = found.ok_or_else(|| {
            let name = self.name;
            format!("held at version {number}, of which nothing is known; see: cardume channel follow {name}")
        })?;
        Ok(Some(found))
    }

    /// Has all of a version lie beside the others, or where it is in use (`is_there`); whether it still is there.
    async fn bring(
        &self,
        version: Version,
        is_there: bool,
        overtaken: Overtaken,
    ) -> Result<bool, FetchError> {
        let in_place = self.follow.mode == Mode::InPlace;
        if is_there && in_place {
            match self.look(version, self.versions.place().to_owned()).await {
                Content::Right(_) => return Ok(true),
                Content::Unsure(reason) => return Err(FetchError::Failed(reason)),
                Content::Wrong(reason) => tracing::warn!(follow = self.name, reason, "it is put right"),
                Content::Nothing => {}
            }
        }
        match self.look(version, self.versions.path(version)).await {
            Content::Right(_) => return Ok(is_there && !in_place),
            Content::Nothing => {}
            Content::Unsure(reason) => return Err(FetchError::Failed(reason)),
            Content::Wrong(reason) if is_there && !in_place => return Err(FetchError::Failed(reason)),
            Content::Wrong(reason) => {
                tracing::warn!(
                    follow = self.name,
                    reason,
                    "an unfinished version is fetched again"
                );
                self.forget(version).await?;
            }
        }
        self.fetch(version, overtaken).await?;
        Ok(is_there && !in_place)
    }

    /// Looks at what is where a version may be, and takes it in if it is that.
    async fn look(&self, version: Version, to: PathBuf) -> Content {
        let mut link = Link::new(version.cid);
        link.name = self.root_name();
        let allow = self.follow.allow.clone();
        self.places.there(&Want { link, to, allow }).await
    }

    fn root_name(&self) -> Option<String> {
        let name = self.follow.to.file_name();
        name.map(|name| name.to_string_lossy().into_owned())
    }

    async fn fetch(&self, version: Version, overtaken: Overtaken) -> Result<(), FetchError> {
        tracing::info!(follow = self.name, number = version.number, cid = %version.cid, "fetching");
        let destination = Destination::Path {
            path: self.versions.path(version),
            force: false,
        };
        let within = match self.follow.mode {
            Mode::Symlink => self.versions.directory(),
            Mode::InPlace => self.versions.place(),
        };
        let request = FetchRequest {
            name: self.root_name(),
            link_within: Some(within.to_owned()),
            allow: self.follow.allow.clone(),
            ..FetchRequest::new(version.cid, destination)
        };
        let (moved, mut last) = (watch::Sender::new(Instant::now()), None);
        let fetching = self.places.fetch(request, |progress| {
            if last != Some(progress.done) {
                last = Some(progress.done);
                moved.send_replace(Instant::now());
            }
            self.board.change(self.name, |row| {
                row.state = FollowState::Fetching;
                (row.done, row.size, row.fetched) = (progress.done, progress.size, progress.fetched);
            });
        });
        let fetched = tokio::select! {
            fetched = fetching => fetched?,
            () = stalled(overtaken, &moved) => return Err(FetchError::Cancelled),
        };
        self.board.change(self.name, |row| {
            (row.done, row.size, row.fetched) = (fetched.size, fetched.size, fetched.fetched);
        });
        // Durable, and listed as a root, before anything leads to it.
        self.places.exchange.sync().await
    }

    /// Puts a version that is complete where it is wanted.
    async fn put(&self, version: Version) -> Result<(), String> {
        self.board
            .change(self.name, |row| row.state = FollowState::Switching);
        let to = self.follow.to.display();
        let put = match self.follow.mode {
            Mode::Symlink => {
                let switch =
                    move |versions: &Versions| versions.seal(version).and_then(|()| versions.switch(version));
                self.on_disk(switch).await.map_err(|error| self.io(&error))
            }
            Mode::InPlace => self.merge(version).await,
        };
        put.map_err(|error| format!("version {} cannot be put at {to}: {error}", version.number))?;
        tracing::info!(follow = self.name, number = version.number, cid = %version.cid, to = %to, "switched");
        Ok(())
    }

    /// Puts a version into its place file by file, and shares it from there.
    async fn merge(&self, version: Version) -> Result<(), FetchError> {
        let (store, versions) = (self.places.store.clone(), self.versions.clone());
        let merge = move || {
            let before = versions.last_in_place()?;
            let gone = before.map(|before| gone(&store, before.cid, version.cid));
            let gone = gone.transpose().map_err(io::Error::other)?.unwrap_or_default();
            versions.merge(version, &gone)?;
            let forgotten = store.forget_below(&versions.path(version));
            forgotten.map_err(io::Error::other)?;
            Ok::<_, io::Error>(before)
        };
        let merged = tokio::task::spawn_blocking(merge).await;
        let before = merged
            .expect("putting files in place does not panic")
            .map_err(|error| self.io(&error))?;
        match self.look(version, self.versions.place().to_owned()).await {
            Content::Right(_) => {}
            Content::Wrong(reason) | Content::Unsure(reason) => return Err(FetchError::Failed(reason)),
            Content::Nothing => return Err(FetchError::Failed("it has gone meanwhile".into())),
        }
        if let Some(before) = before.filter(|before| before.cid != version.cid) {
            self.withdraw(before.cid, self.versions.place().to_owned())
                .await?;
        }
        Ok(())
    }

    /// Runs the program of the follow, unless it has been run for this version.
    async fn run_update(&self, version: Version) -> Result<(), String> {
        let failed = |error: cardume_channel::ChannelError| error.to_string();
        if self.follow.on_update.is_empty() {
            return Ok(());
        }
        let told = self.channels.told(self.name.into()).await.map_err(failed)?;
        if told == Some(version.number) {
            return Ok(());
        }
        let update = Update {
            follow: self.name.to_owned(),
            channel: self.follow.channel,
            number: version.number,
            cid: version.cid,
            path: self.follow.to.clone(),
        };
        let ran = update::run(&self.follow.on_update, &update, self.follow.timeout.get()).await;
        // After it: a kill in between runs it again, and never leaves it out.
        let told = self.channels.tell(self.name.into(), version.number).await;
        told.map_err(failed)?;
        if let Err(error) = ran {
            tracing::warn!(follow = self.name, number = version.number, %error, "the version is there all the same");
            self.board
                .change(self.name, |row| row.problem = Some(format!("on_update: {error}")));
        }
        Ok(())
    }

    /// Deletes old versions beyond those that are kept.
    async fn prune(&self, present: Version) -> Result<(), FetchError> {
        let mut versions = self.list().await?;
        let others = versions.iter().rev().filter(|version| **version != present);
        let keep = match self.follow.mode {
            Mode::Symlink => usize::try_from(self.follow.keep).unwrap_or(usize::MAX),
            Mode::InPlace => 0,
        };
        let old: Vec<Version> = others.skip(keep).copied().collect();
        for version in &old {
            self.forget(*version).await?;
            tracing::info!(
                follow = self.name,
                number = version.number,
                "an old version was deleted"
            );
        }
        versions.retain(|version| !old.contains(version));
        self.board
            .change(self.name, |row| row.versions = numbers(&versions));
        Ok(())
    }

    /// The versions that are there, the oldest first.
    async fn list(&self) -> Result<Vec<Version>, FetchError> {
        let listed = self.on_disk(Versions::list).await;
        listed.map_err(|error| self.io(&error))
    }

    /// Stops sharing a version, and deletes it.
    async fn forget(&self, version: Version) -> Result<(), FetchError> {
        let (store, path) = (self.places.store.clone(), self.versions.path(version));
        self.withdraw(version.cid, path.clone()).await?;
        let forgotten = tokio::task::spawn_blocking(move || store.forget_below(&path)).await;
        forgotten.expect("forgetting a version does not panic")?;
        let removed = self.on_disk(move |versions| versions.remove(version)).await;
        removed.map_err(|error| self.io(&error))
    }

    /// Shares content no more that is shared from `path`; another share, or another version, may have the same.
    async fn withdraw(&self, cid: Cid, path: PathBuf) -> Result<(), FetchError> {
        let store = self.places.store.clone();
        let remove = move || {
            let root = store.root(cid)?;
            let is_it = root.is_some_and(|root| root.path.as_deref() == Some(&path));
            if is_it {
                store.remove_root(cid)?;
            }
            Ok::<_, cardume_store::WriteError>(is_it)
        };
        let removed = tokio::task::spawn_blocking(remove).await;
        if removed.expect("forgetting a root does not panic")? {
            self.places.exchange.withdraw(cid);
        }
        Ok(())
    }

    /// Tells what is wanted and what is there.
    fn tell(&self, newest: Option<&Record>, wanted: Option<Version>, present: Option<Version>) {
        self.board.change(self.name, |row: &mut Row| {
            row.newest = newest.map(Record::number);
            let before = row.wanted;
            row.wanted = wanted.map(|version| version.number);
            row.wanted_cid = wanted.map(|version| version.cid);
            row.present = present.map(|version| version.number);
            row.present_cid = present.map(|version| version.cid);
            row.behind_since = match row.behind_since {
                _ if row.wanted == row.present => None,
                Some(since) if before == row.wanted => Some(since),
                _ => Some(now()),
            };
        });
    }

    fn io(&self, error: &io::Error) -> FetchError {
        FetchError::Io {
            path: self.versions.directory().to_owned(),
            reason: error.to_string(),
        }
    }

    fn on_prepare(&self, error: &io::Error) -> String {
        let directory = self.versions.directory().display();
        format!(
            "{directory} cannot be used: {error}; make the directory above it, writable for this node's user"
        )
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Versions) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let versions = self.versions.clone();
        let done = tokio::task::spawn_blocking(move || work(&versions)).await;
        done.expect("versions on the disk do not panic")
    }
}

/// Waits until there is a newer record, and what is being fetched does not move on.
async fn stalled(overtaken: Overtaken, moved: &watch::Sender<Instant>) {
    let (mut newest, mut decided) = overtaken;
    let stands = async {
        if newest.changed().await.is_err() {
            return std::future::pending().await;
        }
        loop {
            let rests = *moved.borrow() + STALLED;
            if rests <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(rests).await;
        }
    };
    tokio::select! {
        () = stands => {}
        Ok(()) = decided.changed() => {}
    }
}

fn numbers(versions: &[Version]) -> Vec<u64> {
    versions.iter().map(|version| version.number).collect()
}
