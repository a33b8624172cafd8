//! Work that goes on for each entry of a table, and is kept in step with it.
//!
//! Configuration names shares, fetches, channels and places, and may name others while the node runs. This crate begins
//! and ends what is done for each; what that is, it does not know. It spawns nothing: all work runs inside [`keep`].
//!
//! # Invariants
//!
//! * An entry that stays as it is goes on undisturbed.
//! * One name never has two works at a time: that of an entry that was changed has ended before the new one begins.
use std::{collections::BTreeMap, future::poll_fn, task::Poll};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the entries of a table ask for.
pub trait Work<K, T> {
    /// Does what an entry asks for, until `stop`; then it ends soon. It may end earlier, and is not begun again.
    fn run(&self, name: K, entry: T, stop: CancellationToken) -> BoxFuture<'static, ()>;

    /// Clears up after an entry that is in the table no more. Its work has ended; others wait meanwhile.
    fn gone(&self, name: K) -> BoxFuture<'static, ()>;
}

/// Does the work of every entry of `table`, as that changes, until `stop` and until all of it has ended.
pub async fn keep<K, T>(
    mut table: watch::Receiver<BTreeMap<K, T>>,
    work: impl Work<K, T>,
    stop: CancellationToken,
) where
    K: Ord + Clone,
    T: PartialEq + Clone,
{
    let mut all = BTreeMap::<K, Entry<T>>::new();
    while !stop.is_cancelled() {
        let now = table.borrow_and_update().clone();
        for (name, entry) in &all {
            if now.get(name) != Some(&entry.value) {
                entry.stop.cancel();
            }
        }
        for (name, value) in now {
            all.entry(name).or_insert_with_key(|name| {
                let stop = stop.child_token();
                let running = work.run(name.clone(), value.clone(), stop.clone());
                Entry {
                    value,
                    stop,
                    running: Some(running),
                }
            });
        }
        tokio::select! {
            () = stop.cancelled() => {}
            Ok(()) = table.changed() => {}
            () = ended(&mut all) => {
                let over = all.iter().filter(|(_, entry)| entry.is_over());
                let over: Vec<K> = over.map(|(name, _)| name.clone()).collect();
                for name in over {
                    all.remove(&name);
                    if !table.borrow().contains_key(&name) {
                        work.gone(name).await;
                    }
                }
            }
        }
    }
    while all.values().any(|entry| entry.running.is_some()) {
        ended(&mut all).await;
        all.retain(|_, entry| !entry.is_over());
    }
}

/// One entry, and what is done for it.
struct Entry<T> {
    value: T,
    stop: CancellationToken,
    /// None when it has ended.
    running: Option<BoxFuture<'static, ()>>,
}

impl<T> Entry<T> {
    /// Whether it has ended because it was to.
    fn is_over(&self) -> bool {
        self.running.is_none() && self.stop.is_cancelled()
    }
}

/// Goes on with all work, until some of it has ended because it was to. A table has tens of entries, so each is asked
/// whenever one of them moves.
async fn ended<K, T>(all: &mut BTreeMap<K, Entry<T>>) {
    poll_fn(|cx| {
        let mut is_over = false;
        for entry in all.values_mut() {
            if let Some(running) = &mut entry.running
                && running.poll_unpin(cx).is_ready()
            {
                entry.running = None;
            }
            is_over |= entry.is_over();
        }
        match is_over {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Writes down what happens.
    #[derive(Clone, Default)]
    struct Diary(Arc<Mutex<Vec<String>>>);

    impl Diary {
        fn note(&self, what: String) {
            self.0.lock().unwrap().push(what);
        }

        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl Work<&'static str, u8> for Diary {
        fn run(&self, name: &'static str, entry: u8, stop: CancellationToken) -> BoxFuture<'static, ()> {
            let this = self.clone();
            async move {
                this.note(format!("{name}{entry} begins"));
                if entry == 0 {
                    return;
                }
                stop.cancelled().await;
                turns(8).await;
                this.note(format!("{name}{entry} ends"));
            }
            .boxed()
        }

        fn gone(&self, name: &'static str) -> BoxFuture<'static, ()> {
            self.note(format!("{name} is gone"));
            futures::future::ready(()).boxed()
        }
    }

    /// Lets everything else have so many turns.
    async fn turns(count: u8) {
        for _ in 0..count {
            tokio::task::yield_now().await;
        }
    }

    async fn settled() {
        turns(64).await;
    }

    #[tokio::test]
    async fn work_begins_and_ends_with_its_entry_and_never_twice_at_once() {
        let (diary, stop) = (Diary::default(), CancellationToken::new());
        let (change, table) = watch::channel(BTreeMap::from([("a", 1), ("b", 1), ("c", 0)]));
        let keeping = tokio::spawn(keep(table, diary.clone(), stop.clone()));
        settled().await;
        assert_eq!(diary.take(), ["a1 begins", "b1 begins", "c0 begins"]);

        change.send_replace(BTreeMap::from([("a", 1), ("b", 2), ("c", 0), ("d", 1)]));
        settled().await;
        assert_eq!(diary.take(), ["d1 begins", "b1 ends", "b2 begins"]);

        change.send_replace(BTreeMap::from([("b", 2)]));
        settled().await;
        let mut told = diary.take();
        told.sort();
        let gone = ["a is gone", "a1 ends", "c is gone", "d is gone", "d1 ends"];
        assert_eq!(told, gone);

        stop.cancel();
        keeping.await.unwrap();
        assert_eq!(diary.take(), ["b2 ends"]);
    }

    #[tokio::test]
    async fn a_change_taken_back_before_the_work_has_ended_begins_it_anew() {
        let (diary, stop) = (Diary::default(), CancellationToken::new());
        let (change, table) = watch::channel(BTreeMap::from([("a", 1)]));
        let keeping = tokio::spawn(keep(table, diary.clone(), stop.clone()));
        settled().await;
        change.send_replace(BTreeMap::new());
        turns(4).await;
        change.send_replace(BTreeMap::from([("a", 1)]));
        settled().await;
        assert_eq!(diary.take(), ["a1 begins", "a1 ends", "a1 begins"]);
        stop.cancel();
        keeping.await.unwrap();
    }
}
