//! Who may have what.
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use cardume_access::{Action, Roll, Rules};
use cardume_content::{Cid, Hash};
use cardume_store::Store;
use libp2p_identity::PeerId;

/// Lists whose meaning is remembered; a node has few, and what comes beyond is read anew.
const MAX_LISTS: usize = 256;

/// Lists by their words.
type Lists = HashMap<Arc<[String]>, Arc<Rules>>;

/// Lets requests for content in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door {
    store: Store,
    roll: Roll,
    lists: Arc<Mutex<Lists>>,
    /// Nobody else can make the ids that denied requests are answered for.
    secret: [u8; 16],
}

impl Door {
    pub(crate) fn new(store: Store, roll: Roll) -> Self {
        let random = || RandomState::new().hash_one(()).to_le_bytes();
        let mut secret = [0; 16];
        let (first, second) = secret.split_at_mut(8);
        first.copy_from_slice(&random());
        second.copy_from_slice(&random());
        Self {
            store,
            roll,
            lists: Arc::default(),
            secret,
        }
    }

    /// What a request for `cid` is answered for: that, or, where the peer may not have it, an id that nothing has. So
    /// whoever is denied gets what is said of content that is not here, in the same way and time, and moves nothing that
    /// is kept about the content.
    pub(crate) fn admit(&self, peer: &PeerId, cid: Cid) -> Cid {
        let Some(words) = self.store.allow(cid.hash()) else {
            return cid;
        };
        let rules = self.rules(words);
        if self
            .roll
            .admits(Action::Fetch, &rules, peer, &cid, SystemTime::now())
        {
            return cid;
        }
        let hash = Hash::of(&[&self.secret[..], cid.hash().as_bytes()].concat());
        Cid::new(cid.kind(), hash)
    }

    /// What the words of a list mean. Those that name nothing any more mean nobody.
    fn rules(&self, words: Arc<[String]>) -> Arc<Rules> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = lists.get(&words) {
            return rules.clone();
        }
        let (rules, unknown) = self.roll.names().rules_left(words.iter());
        for word in unknown {
            tracing::warn!(%word, "an allow list has a word that lets nobody in; share it again with other words");
        }
        let rules = Arc::new(rules);
        if lists.len() >= MAX_LISTS {
            lists.clear();
        }
        lists.insert(words, rules.clone());
        rules
    }
}
