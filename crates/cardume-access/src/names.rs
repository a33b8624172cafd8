//! The names of peers and groups.
use std::collections::{BTreeMap, BTreeSet};

use libp2p_identity::PeerId;

use crate::{Rule, Rules, WordError};

/// The names that configuration gives to peers and groups, both ways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    peers: BTreeMap<String, PeerId>,
    names: BTreeMap<PeerId, String>,
    groups: BTreeMap<String, BTreeSet<PeerId>>,
    /// Whether certificates put peers into groups besides.
    certified: bool,
}

/// Why names cannot stand together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name could not be told from a peer id, a group or an empty word.
    #[error("{0:?} cannot be a name: it is empty, a peer id, or has a colon or white space")]
    Malformed(String),
    /// One name for two peers.
    #[error("the name {0:?} is given to two peers")]
    Taken(String),
    /// Two names for one peer.
    #[error("{name:?} and {other:?} are the same peer")]
    Twice {
        /// The name that came second.
        name: String,
        /// The name it has already.
        other: String,
    },
}

impl Names {
    /// Takes each peer's name, id and groups, as `[peer.NAME]` has them.
    ///
    /// # Errors
    /// When a name or a group is malformed, or a name or a peer comes twice.
    pub fn new<'a, G>(peers: impl IntoIterator<Item = (&'a str, PeerId, G)>) -> Result<Self, NameError>
    where
        G: IntoIterator<Item = &'a str>,
    {
        let mut names = Self::default();
        for (name, peer, groups) in peers {
            names.add(name, peer, groups)?;
        }
        Ok(names)
    }

    /// Checks that a word can be the name of a peer or a group.
    ///
    /// # Errors
    /// [`NameError::Malformed`].
    pub fn check(name: &str) -> Result<(), NameError> {
        let odd = name.is_empty() || name.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control());
        if odd || name.parse::<PeerId>().is_ok() {
            return Err(NameError::Malformed(name.to_owned()));
        }
        Ok(())
    }

    /// Has certificates put peers into groups besides: then any name that could be one is that of a group, though no
    /// peer of the configuration is in it.
    #[must_use]
    pub const fn with_certified_groups(mut self) -> Self {
        self.certified = true;
        self
    }

    fn add<'a>(
        &mut self,
        name: &str,
        peer: PeerId,
        groups: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), NameError> {
        Self::check(name)?;
        if self.peers.insert(name.to_owned(), peer).is_some() {
            return Err(NameError::Taken(name.to_owned()));
        }
        if let Some(other) = self.names.insert(peer, name.to_owned()) {
            let name = name.to_owned();
            return Err(NameError::Twice { name, other });
        }
        for group in groups {
            Self::check(group)?;
            self.groups.entry(group.to_owned()).or_default().insert(peer);
        }
        Ok(())
    }

    /// The peer of a name.
    pub fn peer(&self, name: &str) -> Option<PeerId> {
        self.peers.get(name).copied()
    }

    /// The name of a peer.
    pub fn name(&self, peer: &PeerId) -> Option<&str> {
        self.names.get(peer).map(String::as_str)
    }

    /// Every word that names something: the peers, then the groups that configuration knows.
    pub fn words(&self) -> impl Iterator<Item = String> {
        let groups = self.groups.keys().map(|group| format!("group:{group}"));
        self.peers.keys().cloned().chain(groups)
    }

    /// The peers that configuration puts into a group, in the order of their ids; nothing when there are none.
    pub fn group(&self, group: &str) -> Option<&BTreeSet<PeerId>> {
        self.groups.get(group)
    }

    /// The groups that configuration puts a peer into, in the order of their names.
    pub fn groups_of(&self, peer: &PeerId) -> impl Iterator<Item = &str> {
        let groups = self.groups.iter().filter(move |(_, peers)| peers.contains(peer));
        groups.map(|(group, _)| group.as_str())
    }

    /// Reads one word of an `allow` list: a name, `group:NAME` or a peer id.
    ///
    /// # Errors
    /// When the word names nothing; the error quotes it.
    pub fn rule(&self, word: &str) -> Result<Rule, WordError> {
        match Self::read(word) {
            Rule::Name(name) if !self.peers.contains_key(&name) => Err(WordError::Peer(word.to_owned())),
            Rule::Group(group) if !self.is_group(&group) => Err(WordError::Group(word.to_owned())),
            rule => Ok(rule),
        }
    }

    fn read(word: &str) -> Rule {
        match (word.strip_prefix("group:"), word.parse()) {
            (Some(group), _) => Rule::Group(group.to_owned()),
            (None, Ok(peer)) => Rule::Peer(peer),
            (None, Err(_)) => Rule::Name(word.to_owned()),
        }
    }

    fn is_group(&self, name: &str) -> bool {
        self.groups.contains_key(name) || (self.certified && Self::check(name).is_ok())
    }

    /// Reads a whole `allow` list.
    ///
    /// # Errors
    /// At the first word that names nothing.
    pub fn rules<S: AsRef<str>>(&self, words: impl IntoIterator<Item = S>) -> Result<Rules, WordError> {
        let mut rules = Rules::default();
        for word in words {
            let word = word.as_ref();
            rules.add(word, self.rule(word)?);
        }
        Ok(rules)
    }

    /// Reads an `allow` list that was written down when other names were known: words that name nothing now allow
    /// nobody until they do, and are handed back as errors.
    pub fn rules_left<S: AsRef<str>>(&self, words: impl IntoIterator<Item = S>) -> (Rules, Vec<WordError>) {
        let (mut rules, mut unknown) = (Rules::default(), Vec::new());
        for word in words {
            let word = word.as_ref();
            unknown.extend(self.rule(word).err());
            rules.add(word, Self::read(word));
        }
        (rules, unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> (Names, PeerId, PeerId) {
        let (nas, web) = (PeerId::random(), PeerId::random());
        let names = Names::new([("nas", nas, vec!["home"]), ("web", web, vec!["home", "public"])]);
        (names.unwrap(), nas, web)
    }

    #[test]
    fn names_lead_to_peers_and_back() {
        let (names, nas, web) = names();
        assert_eq!(names.peer("nas"), Some(nas));
        assert_eq!(names.name(&web), Some("web"));
        assert_eq!(names.peer("home"), None, "a group is not a peer");
        assert_eq!(names.name(&PeerId::random()), None);
        assert_eq!(names.group("home").unwrap().len(), 2);
    }

    #[test]
    fn names_that_could_mean_two_things_are_refused() {
        let peer = PeerId::random();
        let id = peer.to_string();
        for bad in ["", "group:web", "two words", "line\nbreak", &id] {
            let names = Names::new([(bad, peer, [])]);
            assert_eq!(names, Err(NameError::Malformed(bad.to_owned())), "{bad:?}");
        }
        let taken = Names::new([("nas", peer, []), ("nas", PeerId::random(), [])]);
        assert_eq!(taken, Err(NameError::Taken("nas".into())));
        let twice = Names::new([("nas", peer, []), ("web", peer, [])]).unwrap_err();
        assert_eq!(twice.to_string(), r#""web" and "nas" are the same peer"#);
    }

    #[test]
    fn with_certificates_a_group_needs_no_member_and_a_peer_still_a_name() {
        let (names, ..) = names();
        assert!(names.rule("group:press").is_err());
        let names = names.with_certified_groups();
        assert_eq!(names.rule("group:press"), Ok(Rule::Group("press".into())));
        for bad in ["group:", "group:two words", "press"] {
            assert!(names.rule(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_word_is_a_rule_only_if_it_names_something(word in ".{0,64}") {
            let (names, ..) = names();
            let known = ["nas", "web", "group:home", "group:public"].contains(&word.as_str());
            let is_id = word.parse::<PeerId>().is_ok();
            prop_assert_eq!(names.rule(&word).is_ok(), known || is_id);
        }
    }
}
