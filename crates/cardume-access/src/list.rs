//! A list that may be replaced.
use std::{
    fmt::Display,
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use libp2p_identity::PeerId;

use crate::{Action, Roll, Rules};

/// Who may do something now: whom a list allows, or everybody where there is none. Cheap to clone; all clones are one
/// list.
#[derive(Debug, Clone, Default)]
pub struct List {
    roll: Roll,
    rules: Arc<RwLock<Option<Rules>>>,
}

impl List {
    /// Begins with the words of configuration, if there are any. Words that name nothing allow nobody.
    pub fn new(roll: Roll, words: Option<&[String]>) -> Self {
        let this = Self {
            roll,
            rules: Arc::default(),
        };
        this.set(words);
        this
    }

    /// Has other words count from now on.
    pub fn set(&self, words: Option<&[String]>) {
        let rules = words.map(|words| self.roll.names().rules_left(words).0);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Asks for somebody who is about to serve a request for `what`, as [`Roll::admits`] does.
    pub fn admits(&self, action: Action, peer: &PeerId, what: &dyn Display, now: SystemTime) -> bool {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        let admits = |rules: &Rules| self.roll.admits(action, rules, peer, what, now);
        rules.as_ref().is_none_or(admits)
    }
}

#[cfg(test)]
mod tests {
    use crate::Names;

    use super::*;

    #[test]
    fn every_clone_goes_by_the_words_that_were_set_last_and_no_words_allow_nobody() {
        let [nas, other] = std::array::from_fn(|_| PeerId::random());
        let roll = Roll::new(Names::new([("nas", nas, [])]).unwrap());
        let list = List::new(roll.clone(), None);
        let asked = list.clone();
        let allows = |peer| asked.admits(Action::Record, &peer, &"x", SystemTime::UNIX_EPOCH);
        assert!(allows(nas) && allows(other));
        list.set(Some(&["nas".into()]));
        assert!(allows(nas) && !allows(other));
        list.set(Some(&[]));
        assert!(!allows(nas) && !allows(other));
        list.set(None);
        assert!(allows(other));
        assert_eq!(roll.denied(Action::Record), 3);
    }
}
