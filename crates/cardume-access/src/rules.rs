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

/// Who is allowed: everyone that one of the rules means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
    peers: BTreeSet<PeerId>,
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

impl Rules {
    pub(crate) fn add(&mut self, rule: Rule, peers: impl IntoIterator<Item = PeerId>) {
        self.rules.push(rule);
        self.peers.extend(peers);
    }

    /// Whether the peer is allowed.
    pub fn allows(&self, peer: &PeerId) -> bool {
        self.peers.contains(peer)
    }

    /// The rules as they were written, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
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

#[cfg(test)]
mod tests {
    use crate::Names;

    use super::*;

    #[test]
    fn a_list_allows_the_peers_and_the_groups_it_names_and_nobody_else() {
        let [nas, web, phone, guest, stranger] = std::array::from_fn(|_| PeerId::random());
        let names = Names::new([
            ("nas", nas, vec![]),
            ("web", web, vec!["site"]),
            ("phone", phone, vec!["mine"]),
        ])
        .unwrap();
        let guest_id = guest.to_string();
        let rules = names.rules(["nas", "group:site", &guest_id]).unwrap();
        for allowed in [nas, web, guest] {
            assert!(rules.allows(&allowed));
        }
        assert!(!rules.allows(&phone) && !rules.allows(&stranger));
        let written: Vec<_> = rules.iter().map(Rule::to_string).collect();
        assert_eq!(written, [nas.to_string(), "group:site".into(), guest_id]);
    }

    #[test]
    fn no_words_allow_nobody() {
        let rules = Names::default().rules([]).unwrap();
        assert!(!rules.allows(&PeerId::random()));
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
}
