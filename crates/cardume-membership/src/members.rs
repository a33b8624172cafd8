//! What a node of a closed network knows: its own certificate, what is revoked, and who has passed.
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant, SystemTime},
};

use cardume_access::Roll;
use futures::task::AtomicWaker;
use libp2p_identity::PeerId;
use tokio::sync::Notify;

use crate::{Authority, Certificate, Flaw, RevocationList, message::Message};

/// Peers that have passed and wait to be connected or closed, at most. Each has a certificate of an authority, so it
/// takes a careless authority to come near.
const MAX_STANDING: usize = 16_384;
/// How long a peer that has passed may take to be connected; the swarm may also have had no room for it.
const ARRIVAL: Duration = Duration::from_secs(120);

/// What is known of the members of one network.
#[derive(Debug)]
pub(crate) struct Members {
    network: String,
    local: PeerId,
    authorities: RwLock<Vec<Authority>>,
    own: RwLock<Arc<Certificate>>,
    lists: RwLock<BTreeMap<Authority, Arc<RevocationList>>>,
    standing: Mutex<HashMap<PeerId, Standing>>,
    roll: Roll,
    /// Rung when there is a list that was not known before.
    pub(crate) news: Notify,
    closing: Mutex<Vec<PeerId>>,
    closer: AtomicWaker,
}

/// A peer that has passed the gate.
#[derive(Debug)]
struct Standing {
    certificate: Arc<Certificate>,
    since: Instant,
    connected: bool,
}

impl Members {
    pub(crate) fn new(
        network: String,
        local: PeerId,
        authorities: Vec<Authority>,
        own: Certificate,
        roll: Roll,
    ) -> Self {
        Self {
            network,
            local,
            authorities: RwLock::new(authorities),
            own: RwLock::new(Arc::new(own)),
            lists: RwLock::default(),
            standing: Mutex::default(),
            roll,
            news: Notify::new(),
            closing: Mutex::default(),
            closer: AtomicWaker::new(),
        }
    }

    pub(crate) fn network(&self) -> &str {
        &self.network
    }

    /// Whose certificate this node's is.
    pub(crate) fn local(&self) -> &PeerId {
        &self.local
    }

    /// The certificate that this node shows.
    pub(crate) fn own(&self) -> Arc<Certificate> {
        self.own.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows another certificate from now on, which is this node's.
    pub(crate) fn renew(&self, certificate: Certificate) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
    }

    /// What is wrong with a certificate that this node would show.
    pub(crate) fn flaw_of_own(&self, certificate: &Certificate) -> Result<(), Flaw> {
        self.check(certificate, &self.local, SystemTime::now())
    }

    fn authorities(&self) -> RwLockReadGuard<'_, Vec<Authority>> {
        self.authorities.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Believes other authorities from now on, and shows a certificate of one of them. Connections of those whose
    /// certificates are of none of them are closed.
    pub(crate) fn trust(&self, authorities: Vec<Authority>, own: Certificate) {
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|authority, _| authorities.contains(authority));
        drop(lists);
        *self.authorities.write().unwrap_or_else(PoisonError::into_inner) = authorities;
        self.renew(own);
        self.sweep();
    }

    fn check(&self, certificate: &Certificate, peer: &PeerId, now: SystemTime) -> Result<(), Flaw> {
        certificate.check(&self.network, peer, &self.authorities(), now)?;
        let revoking = self.list(certificate.authority());
        match revoking.is_some_and(|list| list.revokes(certificate)) {
            true => Err(Flaw::Revoked),
            false => Ok(()),
        }
    }

    /// What this node tells first: its certificate, and which lists it has.
    pub(crate) fn hello(&self) -> Message {
        Message {
            certificate: self.own().bytes().to_vec(),
            ..self.numbers()
        }
    }

    /// Which lists this node has.
    pub(crate) fn numbers(&self) -> Message {
        let numbers = self.lists().into_iter();
        Message {
            numbers: numbers
                .map(|list| (list.authority().clone(), list.number()))
                .collect(),
            ..Message::default()
        }
    }

    /// The lists that are newer than those that somebody has.
    pub(crate) fn newer(&self, numbers: &[(Authority, u64)]) -> Vec<Vec<u8>> {
        let theirs: HashMap<_, _> = numbers
            .iter()
            .map(|(authority, number)| (authority, *number))
            .collect();
        let lists = self.lists().into_iter();
        let newer = lists.filter(|list| {
            theirs
                .get(list.authority())
                .is_none_or(|known| *known < list.number())
        });
        newer.map(|list| list.bytes().to_vec()).collect()
    }

    /// Lets `peer` in if its certificate makes it a member, in the light of the lists that it brings.
    pub(crate) fn admit(&self, peer: PeerId, certificate: &[u8], lists: &[Vec<u8>]) -> Result<(), Flaw> {
        let certificate = Arc::new(Certificate::decode(certificate)?);
        certificate.check(&self.network, &peer, &self.authorities(), SystemTime::now())?;
        self.adopt_all(lists)?;
        self.check(&certificate, &peer, SystemTime::now())?;
        self.stand(peer, certificate.clone());
        // A list may have come meanwhile, whose reader saw nobody standing here yet.
        self.check(&certificate, &peer, SystemTime::now())?;
        let groups = certificate.terms().groups.iter().cloned();
        self.roll.certify(peer, groups, certificate.until());
        Ok(())
    }

    /// Takes in lists of a member.
    pub(crate) fn adopt_all(&self, lists: &[Vec<u8>]) -> Result<(), Flaw> {
        for list in lists {
            self.adopt(RevocationList::decode(list)?)?;
        }
        Ok(())
    }

    /// Takes in a list; whether it is newer than what was known.
    pub(crate) fn adopt(&self, list: RevocationList) -> Result<bool, Flaw> {
        if list.network() != self.network {
            return Err(Flaw::OtherNetwork);
        }
        if !self.authorities().contains(list.authority()) {
            // Another node may trust one more authority, while keys are changed.
            return Ok(false);
        }
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        let known = lists.get(list.authority()).map(|known| known.number());
        if known.is_some_and(|known| known >= list.number()) {
            return Ok(false);
        }
        lists.insert(list.authority().clone(), Arc::new(list));
        drop(lists);
        self.news.notify_one();
        Ok(true)
    }

    /// The newest lists that are known.
    pub(crate) fn lists(&self) -> Vec<Arc<RevocationList>> {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        lists.values().cloned().collect()
    }

    fn list(&self, authority: &Authority) -> Option<Arc<RevocationList>> {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        lists.get(authority).cloned()
    }

    fn stand(&self, peer: PeerId, certificate: Arc<Certificate>) {
        let mut all = lock(&self.standing);
        if all.len() >= MAX_STANDING && !all.contains_key(&peer) {
            all.retain(|_, one| one.connected);
        }
        let connected = all.get(&peer).is_some_and(|one| one.connected);
        let standing = Standing {
            certificate,
            since: Instant::now(),
            connected,
        };
        all.insert(peer, standing);
    }

    /// Has the connections closed of all who are no members any more.
    ///
    /// Who has passed and is not connected yet has its turn once it is.
    pub(crate) fn sweep(&self) {
        let now = SystemTime::now();
        let mut flawed = Vec::new();
        lock(&self.standing).retain(|peer, one| {
            if let Err(flaw) = self.check(&one.certificate, peer, now) {
                flawed.push((*peer, flaw, one.connected));
            }
            one.connected || one.since.elapsed() < ARRIVAL
        });
        for (peer, flaw, connected) in flawed {
            self.roll.forget(&peer);
            if connected {
                tracing::info!(%peer, "cut off: its certificate {flaw}");
                lock(&self.closing).push(peer);
            }
        }
        self.closer.wake();
    }

    /// Peers whose connections are to be closed, one after the other.
    pub(crate) fn poll_closing(&self, cx: &std::task::Context<'_>) -> Option<PeerId> {
        self.closer.register(cx.waker());
        lock(&self.closing).pop()
    }

    pub(crate) fn connected(&self, peer: &PeerId) {
        if let Some(one) = lock(&self.standing).get_mut(peer) {
            one.connected = true;
        }
    }

    /// Notes that the last connection with a peer is gone; the next one may have passed already.
    pub(crate) fn disconnected(&self, peer: &PeerId) {
        if let Some(one) = lock(&self.standing).get_mut(peer) {
            one.connected = false;
            one.since = Instant::now();
        }
    }

    /// Members that are connected.
    pub(crate) fn present(&self) -> Vec<PeerId> {
        let standing = lock(&self.standing);
        let present = standing.iter().filter(|(_, one)| one.connected);
        present.map(|(peer, _)| *peer).collect()
    }
}

/// Nothing that is locked is left half changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
