//! All shares of a node.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cardume_content::Cid;
use cardume_roster::Work;
use cardume_store::{Mode, Root, Store, WriteError};
use futures::{FutureExt, future::BoxFuture};
use redb::Database;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Handle, State,
    follow::{Follower, Taken},
    known::{Known, Last},
    state::{self, States},
    tree::Tree,
};

/// Is told that a root is announced from now on, or no more.
pub type Tell = Box<dyn Fn(Cid, bool) + Send + Sync>;

/// Keeps what configuration shares in line with the disk, while it is run.
pub struct Server {
    all: Arc<All>,
}

/// What configuration shares, by name.
pub(crate) type Wanted = BTreeMap<String, Config>;

/// The files of each share that is followed, by its name.
type Trees = Arc<Mutex<BTreeMap<String, Arc<Tree>>>>;

/// What the shares have in common.
pub(crate) struct All {
    pub(crate) store: Store,
    pub(crate) mode: Mode,
    /// One share is taken in at a time: each uses all cores.
    pub(crate) turn: Semaphore,
    pub(crate) states: watch::Sender<States>,
    wanted: watch::Receiver<Wanted>,
    trees: Trees,
    known: Known,
    tell: Tell,
    /// Each share, as the table has it.
    last: Mutex<BTreeMap<String, Last>>,
}

impl Server {
    /// Shares `wanted` from `store`; `database` remembers what was shared for each name, `tell` is called with what
    /// is to be announced.
    pub fn new(
        wanted: BTreeMap<String, Config>,
        store: Store,
        mode: Mode,
        database: Arc<Database>,
        tell: Tell,
    ) -> (Handle, Self) {
        let states = wanted
            .iter()
            .map(|(name, config)| (name.clone(), state::begin(None, config)));
        let (states, follow) = watch::channel(states.collect());
        let (wishes, wanted) = watch::channel(wanted);
        let all = All {
            store,
            mode,
            turn: Semaphore::new(1),
            states,
            wanted,
            trees: Trees::default(),
            known: Known(database),
            tell,
            last: Mutex::default(),
        };
        let all = Arc::new(all);
        (Handle::new(follow, wishes), Self { all })
    }

    /// Takes everything in, stops sharing what is not wanted any more, and follows changes until `stop`.
    ///
    /// What fails is logged and told in its [`State`], and tried again; the other shares go on.
    pub async fn run(self, stop: CancellationToken) {
        let all = self.all;
        on_disk(all.clone(), All::begin).await;
        let trees = all.trees.clone();
        // What is found changed when somebody asks for it is off the air already, and is taken in anew.
        all.store.on_changed(move |changed| {
            trees_of(&trees)
                .values()
                .for_each(|tree| tree.find(&changed.path))
        });
        cardume_roster::keep(all.wanted.clone(), Following(all), stop).await;
    }
}

/// The shares that are followed.
struct Following(Arc<All>);

impl Work<String, Config> for Following {
    fn run(&self, name: String, config: Config, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let all = self.0.clone();
        all.states.send_modify(|states| {
            let state = state::begin(states.get(&name), &config);
            states.insert(name.clone(), state);
        });
        let follower = Follower::new(name.clone(), config, all.clone());
        trees_of(&all.trees).insert(name.clone(), follower.tree.clone());
        let run = follower.run(stop);
        let ended = move |()| drop(trees_of(&all.trees).remove(&name));
        run.map(ended).boxed()
    }

    fn gone(&self, name: String) -> BoxFuture<'static, ()> {
        self.0.states.send_modify(|states| drop(states.remove(&name)));
        on_disk(self.0.clone(), move |all| all.give_up(&name)).boxed()
    }
}

fn trees_of(trees: &Trees) -> MutexGuard<'_, BTreeMap<String, Arc<Tree>>> {
    trees.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn on_disk(all: Arc<All>, work: impl FnOnce(&All) + Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(move || work(&all)).await {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Has what was shared last time be for those for whom configuration has it now, and announced as it says: what became
/// narrower must not be everybody's until its turn comes to be looked at. To be called before anything is given to
/// anybody; blocks on the disk.
///
/// # Errors
/// What the disk says.
pub fn renew(
    wanted: &BTreeMap<String, Config>,
    store: &Store,
    database: &Arc<Database>,
) -> Result<(), WriteError> {
    let mut shares = BTreeMap::<Cid, Vec<&Config>>::new();
    for (name, last) in Known(database.clone()).load() {
        shares.entry(last.cid).or_default().extend(wanted.get(&name));
    }
    for (cid, configs) in shares {
        let allow = widest(configs.iter().map(|config| &config.allow));
        let announce = configs.iter().any(|config| config.announces());
        let is_other = |root: &Root| root.allow != allow || root.announce != announce;
        if !configs.is_empty() && store.root(cid)?.as_ref().is_some_and(is_other) {
            store.set_allow(cid, allow, announce)?;
        }
    }
    Ok(())
}

/// The list of content that several shares have: everybody on one of theirs, and everybody if one has none.
fn widest<'a>(lists: impl Iterator<Item = &'a Option<Vec<String>>>) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for list in lists {
        let new = list.as_ref()?.iter().filter(|word| !all.contains(*word)).cloned();
        all.extend(new.collect::<Vec<_>>());
    }
    Some(all)
}

impl All {
    /// Who may have a root that shares have, and the share called `name` besides.
    pub(crate) fn allow(&self, cid: Cid, name: Option<&str>) -> Option<Vec<String>> {
        let wanted = self.wanted.borrow();
        let shares = self.last();
        let names = shares.iter().filter(|(_, last)| last.cid == cid);
        let names = names.map(|(name, _)| name.as_str()).chain(name);
        widest(names.filter_map(|name| Some(&wanted.get(name)?.allow)))
    }

    /// Reads what was shared last time, and gives up what is not wanted.
    fn begin(&self) {
        let before = self.known.load();
        self.last().clone_from(&before);
        let wanted = self.wanted.borrow().clone();
        let gone = before.keys().filter(|name| !wanted.contains_key(*name));
        gone.for_each(|name| self.give_up(name));
    }

    fn give_up(&self, name: &str) {
        tracing::info!(share = name, "no longer configured; not shared any more");
        self.replace(name, None);
    }

    /// Whether a file system was mounted at a share when it was taken in last.
    pub(crate) fn was_mounted(&self, name: &str) -> bool {
        self.last().get(name).is_some_and(|last| last.mounted)
    }

    fn last(&self) -> MutexGuard<'_, BTreeMap<String, Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `taken` the root of a share, and gives the one before up unless another share has it too.
    ///
    /// The new root must be in the store. Blocks on the disk.
    pub(crate) fn replace(&self, name: &str, taken: Option<&Taken>) {
        let new = taken.map(|taken| Last {
            cid: taken.cid,
            mounted: taken.mounted,
        });
        let (old, shared) = {
            let mut shares = self.last();
            let old = match new {
                Some(new) => shares.insert(name.to_owned(), new),
                None => shares.remove(name),
            };
            let others = shares
                .iter()
                .any(|(other, last)| other != name && Some(last.cid) == old.map(|old| old.cid));
            (old, others)
        };
        if let Some(taken) = taken {
            (self.tell)(taken.cid, taken.announce);
        }
        if old == new {
            return;
        }
        if let Err(error) = self.known.remember(name, new) {
            tracing::warn!(share = name, %error, "the list of configured shares could not be written");
        }
        if let Some(old) = old.filter(|old| shared && new.is_none_or(|new| new.cid != old.cid)) {
            self.narrow(old.cid);
        }
        let gone = old.filter(|old| !shared && new.is_none_or(|new| new.cid != old.cid));
        let Some(Last { cid: old, .. }) = gone else {
            return;
        };
        (self.tell)(old, false);
        if let Err(error) = self.store.remove_root(old) {
            tracing::warn!(cid = %old, %error, "a share could not be forgotten");
        }
    }

    /// Has a root be for those whom the shares allow it now that have it.
    pub(crate) fn narrow(&self, cid: Cid) {
        let narrowed = self.store.root(cid).map_err(WriteError::from).and_then(|root| {
            let root = root.filter(|root| root.allow != self.allow(cid, None));
            root.map_or(Ok(true), |root| {
                self.store.set_allow(cid, self.allow(cid, None), root.announce)
            })
        });
        if let Err(error) = narrowed {
            tracing::warn!(%cid, %error, "who may have a share could not be written");
        }
    }

    /// Changes what is told of a share.
    pub(crate) fn state(&self, name: &str, change: impl FnOnce(&mut State)) {
        self.states.send_if_modified(|states| {
            let Some(state) = states.get_mut(name) else {
                return false;
            };
            let before = state.clone();
            change(state);
            *state != before
        });
    }
}
