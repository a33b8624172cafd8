//! Who is in which group.
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Display,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::SystemTime,
};

use libp2p_identity::PeerId;

use crate::{Action, Names, Rules, denials::Denials};

/// Peers whose certificates are remembered; more than a node is connected to. Without a bound everybody with a
/// certificate of the network would take memory for good. Above it the one that ends first goes.
const MAX_CERTIFIED: usize = 16_384;
/// Groups remembered of one certificate; what is read from a peer must not decide how much is kept.
const MAX_GROUPS: usize = 64;

/// Whose each name is and who is in which group now: by configuration, which may be replaced, and by certificates, which
/// come and end. Cheap to clone; all clones are one roll.
#[derive(Debug, Clone, Default)]
pub struct Roll(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    names: RwLock<Arc<Names>>,
    certified: RwLock<HashMap<PeerId, Certified>>,
    denials: Denials,
}

#[derive(Debug)]
struct Certified {
    groups: BTreeSet<String>,
    until: SystemTime,
}

impl Roll {
    /// Begins with the peers and groups of configuration.
    pub fn new(names: Names) -> Self {
        Self(Arc::new(Inner {
            names: RwLock::new(Arc::new(names)),
            certified: RwLock::default(),
            denials: Denials::default(),
        }))
    }

    /// What configuration calls peers and groups now.
    pub fn names(&self) -> Arc<Names> {
        let names = self.0.names.read();
        names.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has configuration call them otherwise from now on; every list means it so at once.
    pub fn rename(&self, names: Names) {
        let mut now = self.0.names.write().unwrap_or_else(PoisonError::into_inner);
        *now = Arc::new(names);
    }

    /// Puts a peer into the groups that its certificate grants, from now until `until`, in place of what an earlier
    /// certificate granted.
    ///
    /// For what an authority has signed, and nothing else.
    pub fn certify(&self, peer: PeerId, groups: impl IntoIterator<Item = String>, until: SystemTime) {
        let groups = groups.into_iter().take(MAX_GROUPS).collect();
        let mut certified = self.write();
        if certified.len() >= MAX_CERTIFIED
            && !certified.contains_key(&peer)
            && let Some(first) = certified.iter().min_by_key(|(_, one)| one.until)
        {
            let first = *first.0;
            certified.remove(&first);
        }
        certified.insert(peer, Certified { groups, until });
    }

    /// Forgets what certificates granted to a peer. What configuration says stays.
    pub fn forget(&self, peer: &PeerId) {
        self.write().remove(peer);
    }

    /// Whether a peer is allowed by one of the rules, at `now`.
    pub fn allows(&self, rules: &Rules, peer: &PeerId, now: SystemTime) -> bool {
        if rules.mean(peer, &self.names()) {
            return true;
        }
        if rules.groups().is_empty() {
            return false;
        }
        let certified = self.read();
        let granted = certified.get(peer).filter(|granted| now < granted.until);
        granted.is_some_and(|granted| !granted.groups.is_disjoint(rules.groups()))
    }

    /// Asks [`allows`](Self::allows) for somebody who is about to serve a request for `what`; a denial is counted, and
    /// told in the log.
    pub fn admits(
        &self,
        action: Action,
        rules: &Rules,
        peer: &PeerId,
        what: &dyn Display,
        now: SystemTime,
    ) -> bool {
        let is_allowed = self.allows(rules, peer, now);
        if !is_allowed {
            let is_first = self.0.denials.count(action, *peer, now);
            let (action, names) = (action.name(), self.names());
            let name = names.name(peer);
            if is_first {
                tracing::info!(%peer, name, action, %what, allow = %rules, "denied; more of this peer in a minute");
            } else {
                tracing::debug!(%peer, name, action, %what, allow = %rules, "denied");
            }
        }
        is_allowed
    }

    /// How many requests for an action were denied since the start.
    pub fn denied(&self, action: Action) -> u64 {
        self.0.denials.of(action)
    }

    /// The groups a peer is in at `now`, by configuration and by certificate.
    pub fn groups(&self, peer: &PeerId, now: SystemTime) -> BTreeSet<String> {
        let names = self.names();
        let mut groups: BTreeSet<_> = names.groups_of(peer).map(str::to_owned).collect();
        let certified = self.read();
        if let Some(granted) = certified.get(peer).filter(|granted| now < granted.until) {
            groups.extend(granted.groups.iter().cloned());
        }
        groups
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<PeerId, Certified>> {
        self.0.certified.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<PeerId, Certified>> {
        self.0.certified.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn after(secs: u64) -> SystemTime {
        START + Duration::from_secs(secs)
    }

    #[test]
    fn what_is_denied_is_counted_by_what_it_was() {
        let (nas, other) = (PeerId::random(), PeerId::random());
        let roll = Roll::new(Names::new([("nas", nas, [])]).unwrap());
        let rules = roll.names().rules(["nas"]).unwrap();
        assert!(roll.admits(Action::Fetch, &rules, &nas, &"x", START));
        assert!(!roll.admits(Action::Fetch, &rules, &other, &"x", START));
        assert!(!roll.clone().admits(Action::Fetch, &rules, &other, &"x", START));
        assert!(!roll.admits(Action::Reserve, &rules, &other, &"a place", START));
        assert_eq!(Action::ALL.map(|action| roll.denied(action)), [2, 1, 0, 0, 0]);
    }

    fn groups(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_list_allows_the_peers_and_the_groups_it_names_and_nobody_else() {
        let [nas, web, phone, guest, stranger] = std::array::from_fn(|_| PeerId::random());
        let names = Names::new([
            ("nas", nas, vec![]),
            ("web", web, vec!["site"]),
            ("phone", phone, vec!["mine"]),
        ]);
        let roll = Roll::new(names.unwrap());
        let guest_id = guest.to_string();
        let rules = roll.names().rules(["nas", "group:site", &guest_id]).unwrap();
        for allowed in [nas, web, guest] {
            assert!(roll.allows(&rules, &allowed, START));
        }
        assert!(!roll.allows(&rules, &phone, START) && !roll.allows(&rules, &stranger, START));
        let nobody = roll.names().rules::<&str>([]).unwrap();
        assert!(!roll.allows(&nobody, &nas, START));
    }

    #[test]
    fn a_list_means_the_names_that_configuration_has_now() {
        let [old, new] = std::array::from_fn(|_| PeerId::random());
        let named = |peer| Names::new([("nas", peer, vec!["home"])]).unwrap();
        let roll = Roll::new(named(old));
        let (by_name, by_group) = (["nas"], ["group:home"]);
        let lists = [by_name, by_group].map(|words| roll.names().rules(words).unwrap());
        roll.clone().rename(named(new));
        for rules in &lists {
            assert!(roll.allows(rules, &new, START) && !roll.allows(rules, &old, START));
        }
    }

    #[test]
    fn a_certificate_puts_a_peer_into_groups_until_it_ends_or_is_forgotten() {
        let peer = PeerId::random();
        let names = Names::new([("nas", peer, vec!["home"])]).unwrap();
        let roll = Roll::new(names.with_certified_groups());
        let press = roll.names().rules(["group:press"]).unwrap();
        let home = roll.names().rules(["group:home"]).unwrap();
        assert!(!roll.allows(&press, &peer, START));
        roll.clone().certify(peer, groups(&["press"]), after(10));
        assert!(roll.allows(&press, &peer, after(9)));
        assert_eq!(roll.groups(&peer, after(9)).len(), 2);
        assert!(!roll.allows(&press, &peer, after(10)), "it has ended");
        assert!(!roll.allows(&press, &PeerId::random(), after(9)));
        roll.certify(peer, groups(&["mail"]), after(20));
        assert!(!roll.allows(&press, &peer, after(9)), "the new one counts");
        roll.certify(peer, groups(&["press"]), after(20));
        roll.forget(&peer);
        assert!(!roll.allows(&press, &peer, after(9)));
        assert!(roll.allows(&home, &peer, after(99)), "configuration does not end");
    }

    #[test]
    fn certificates_of_many_peers_stay_bounded_and_the_longest_stay() {
        let roll = Roll::default();
        let last = PeerId::random();
        roll.certify(last, groups(&["press"]), after(1_000_000));
        for number in 0..MAX_CERTIFIED as u64 + 3 {
            roll.certify(PeerId::random(), groups(&["press"]), after(number));
        }
        assert_eq!(roll.read().len(), MAX_CERTIFIED);
        assert!(roll.read().contains_key(&last));
        let many = (0..1_000).map(|number| number.to_string());
        roll.certify(last, many, after(1_000_000));
        assert_eq!(roll.groups(&last, START).len(), MAX_GROUPS);
    }
}
