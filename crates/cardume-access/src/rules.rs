//! Lists of who is allowed.
use std::{collections::BTreeSet, fmt};

use libp2p_identity::PeerId;

use crate::Names;

/// One word of an `allow` list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// One peer, by its id.
    Peer(PeerId),
    /// One peer, by the name that configuration gives it.
    Name(String),
    /// Every peer of a group, by the group's name.
    Group(String),
}

/// Who is allowed: everyone that one of the rules means. Whose a name is and who is in a group is told by the
/// [`Roll`](crate::Roll) at the moment it is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    words: Vec<String>,
    peers: BTreeSet<PeerId>,
    names: BTreeSet<String>,
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
            Rule::Name(name) => self.names.insert(name),
            Rule::Group(group) => self.groups.insert(group),
        };
    }

    /// The words as they were written, in their order.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether a rule means this peer, by its id or as `names` have it.
    pub(crate) fn mean(&self, peer: &PeerId, names: &Names) -> bool {
        let is_named = || names.name(peer).is_some_and(|name| self.names.contains(name));
        let is_grouped = || {
            let groups = self.groups.iter().filter_map(|group| names.group(group));
            groups.into_iter().any(|peers| peers.contains(peer))
        };
        self.peers.contains(peer) || is_named() || is_grouped()
    }

    /// The groups that rules mean.
    pub(crate) fn groups(&self) -> &BTreeSet<String> {
        &self.groups
    }
}

/// As it is written in an `allow` list.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => write!(f, "{peer}"),
            Self::Name(name) => f.write_str(name),
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
    use super::*;

    #[test]
    fn a_list_keeps_its_words_and_what_they_mean() {
        let (nas, guest) = (PeerId::random(), PeerId::random());
        let names = Names::new([("nas", nas, vec!["site"])]).unwrap();
        let guest_id = guest.to_string();
        let rules = names.rules(["nas", "group:site", &guest_id]).unwrap();
        assert!(rules.mean(&nas, &names) && rules.mean(&guest, &names));
        assert!(!rules.mean(&PeerId::random(), &names));
        assert_eq!(rules.groups().iter().collect::<Vec<_>>(), ["site"]);
        assert_eq!(rules.words(), ["nas", "group:site", &guest_id]);
        assert_eq!(
            rules.to_string(),
            format!(r#"["nas", "group:site", "{guest_id}"]"#)
        );
    }

    #[test]
    fn a_name_is_whose_it_is_when_asked() {
        let (old, new) = (PeerId::random(), PeerId::random());
        let named = |peer, groups| Names::new([("nas", peer, groups)]).unwrap();
        let before = named(old, vec!["site"]);
        let rules = before.rules(["nas", "group:site"]).unwrap();
        let after = named(new, vec![]);
        assert!(rules.mean(&new, &after) && !rules.mean(&old, &after));
        assert!(!rules.mean(&new, &Names::default()));
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
        let (nas, phone) = (PeerId::random(), PeerId::random());
        let names = Names::new([("nas", nas, vec![])]).unwrap();
        let (rules, unknown) = names.rules_left(["phone", "nas", "group:web"]);
        assert!(rules.mean(&nas, &names) && !rules.mean(&phone, &names));
        assert_eq!(rules.words(), ["phone", "nas", "group:web"]);
        assert_eq!(
            unknown.iter().map(WordError::word).collect::<Vec<_>>(),
            ["phone", "group:web"]
        );
        let again = Names::new([("phone", phone, vec!["web"])]).unwrap();
        assert!(rules.mean(&phone, &again), "the name is somebody's again");
    }
}
