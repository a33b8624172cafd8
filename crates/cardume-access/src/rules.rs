//! Lists of who is allowed.
use std::{collections::BTreeSet, fmt};

use libp2p_identity::PeerId;

/// One word of an `allow` list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// One peer, by its name or its id.
    Peer(PeerId),
    /// Every peer of a group, by the group's name.
    Group(String),
}

/// Who is allowed: everyone that one of the rules means. Who is in a group is told by the [`Roll`](crate::Roll) at the
/// moment it is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    words: Vec<String>,
    peers: BTreeSet<PeerId>,
    groups: BTreeSet<String>,
}

/// A word that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WordError {
    /// Neither a peer's name nor a peer id.
    #[error("{0:?} is neither a peer's name nor a peer id")]
    Peer(String),
    /// A group without members.
    #[error("{0:?} names a group that no peer is in")]
    Group(String),
}

impl WordError {
    /// The word, as it was written.
    pub fn word(&self) -> &str {
        match self {
            Self::Peer(word) | Self::Group(word) => word,
        }
    }
}

impl Rules {
    pub(crate) fn add(&mut self, word: &str, rule: Rule) {
        self.words.push(word.to_owned());
        match rule {
            Rule::Peer(peer) => self.peers.insert(peer),
            Rule::Group(group) => self.groups.insert(group),
        };
    }

    /// Keeps a word that allows nobody, as it is still what is written.
    pub(crate) fn add_dead(&mut self, word: &str) {
        self.words.push(word.to_owned());
    }

    /// The words as they were written, in their order.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether a rule means this very peer.
    pub fn names(&self, peer: &PeerId) -> bool {
        self.peers.contains(peer)
    }

    /// The groups that rules mean.
    pub fn groups(&self) -> &BTreeSet<String> {
        &self.groups
    }
}

/// As it is written in an `allow` list.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => write!(f, "{peer}"),
            Self::Group(group) => write!(f, "group:{group}"),
        }
    }
}

/// As configuration has it: `["nas", "group:web"]`.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.words)
    }
}

#[cfg(test)]
mod tests {
    use crate::Names;

    use super::*;

    #[test]
    fn a_list_keeps_its_words_and_what_they_mean() {
        let (nas, guest) = (PeerId::random(), PeerId::random());
        let names = Names::new([("nas", nas, vec!["site"])]).unwrap();
        let guest_id = guest.to_string();
        let rules = names.rules(["nas", "group:site", &guest_id]).unwrap();
        assert!(rules.names(&nas) && rules.names(&guest) && !rules.names(&PeerId::random()));
        assert_eq!(rules.groups().iter().collect::<Vec<_>>(), ["site"]);
        assert_eq!(rules.words(), ["nas", "group:site", &guest_id]);
        assert_eq!(
            rules.to_string(),
            format!(r#"["nas", "group:site", "{guest_id}"]"#)
        );
    }

    #[test]
    fn an_error_quotes_the_word() {
        let names = Names::default();
        assert_eq!(
            names.rules(["nsa"]).unwrap_err().to_string(),
            r#""nsa" is neither a peer's name nor a peer id"#
        );
        assert_eq!(
            names.rules(["group:wbe"]).unwrap_err().to_string(),
            r#""group:wbe" names a group that no peer is in"#
        );
    }

    #[test]
    fn a_list_from_before_a_name_was_dropped_allows_those_that_are_left() {
        let nas = PeerId::random();
        let names = Names::new([("nas", nas, vec![])]).unwrap();
        let (rules, unknown) = names.rules_left(["phone", "nas", "group:web"]);
        assert!(rules.names(&nas) && rules.groups().is_empty());
        assert_eq!(rules.words(), ["phone", "nas", "group:web"]);
        assert_eq!(
            unknown.iter().map(WordError::word).collect::<Vec<_>>(),
            ["phone", "group:web"]
        );
    }
}
