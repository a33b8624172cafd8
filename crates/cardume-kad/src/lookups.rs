//! The lookups under way, and what has come of them.
use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Poll},
    time::Instant,
};

use libp2p_identity::PeerId;
use libp2p_kad::{
    self as kad, GetClosestPeersError, GetRecordError, GetRecordOk, PutRecordError, QueryId, QueryResult,
    Quorum, Record, RecordKey as Key, store::RecordStore as _,
};
use tokio::sync::oneshot;

use crate::{
    command::Lookup,
    config::TTL,
    found::{Providers, addresses, append},
    handle::{KadError, Provider},
    inner::Dht,
    judge,
    records::Refused,
    routing::{Routing, table_size},
};

type Reply<T> = oneshot::Sender<Result<T, KadError>>;

/// Lookups that may wait for a place; more stay in the mailbox, where their callers feel it.
const WAITING: usize = 64;

/// Peers that must agree on a value for a lookup to end early.
const AGREEMENT: usize = 3;

/// What runs, and what waits for a place.
pub(crate) struct Lookups {
    local: PeerId,
    parallel: usize,
    running: HashMap<QueryId, Running>,
    waiting: VecDeque<Lookup>,
}

enum Running {
    Providers(Providers),
    Find(PeerId, Reply<Vec<Provider>>),
    Get(Key, Vec<(Vec<u8>, usize)>, Reply<Vec<u8>>),
    Put(Reply<()>),
}

impl Lookups {
    pub(crate) fn new(local: PeerId, parallel: usize) -> Self {
        Self {
            local,
            parallel,
            running: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.waiting.len() < WAITING
    }

    pub(crate) fn add(&mut self, lookup: Lookup) {
        self.waiting.push_back(lookup);
    }

    /// Ends what nobody waits for any more, and starts what has a place.
    pub(crate) fn poll(&mut self, dht: &mut Dht, routing: &Routing, cx: &mut Context<'_>) -> Poll<()> {
        let mut moved = false;
        self.running.retain(|id, lookup| {
            let gone = lookup.poll_gone(cx).is_ready();
            if gone && let Some(mut query) = dht.query_mut(id) {
                query.finish();
            }
            moved |= gone;
            !gone
        });
        while self.running.len() < self.parallel {
            let Some(lookup) = self.waiting.pop_front() else {
                break;
            };
            moved = true;
            if !lookup.is_abandoned() {
                self.start(dht, routing, lookup);
            }
        }
        if moved { Poll::Ready(()) } else { Poll::Pending }
    }

    fn start(&mut self, dht: &mut Dht, routing: &Routing, lookup: Lookup) {
        let alone = table_size(dht) == 0;
        let (id, running) = match lookup {
            Lookup::Providers(key, found) => {
                let key = Key::from(key);
                let id = dht.get_providers(key.clone());
                (id, Running::Providers(Providers::new(key, found)))
            }
            Lookup::Find(peer, reply) => {
                let known = addresses(dht, routing, &peer);
                if !known.is_empty() {
                    let addresses = known;
                    let _ = reply.send(Ok(vec![Provider { peer, addresses }]));
                    return;
                }
                if alone {
                    let _ = reply.send(Err(KadError::NoPeers));
                    return;
                }
                (dht.get_closest_peers(peer), Running::Find(peer, reply))
            }
            Lookup::Get(key, reply) => {
                let key = Key::from(key);
                if alone && dht.store_mut().get(&key).is_none() {
                    let _ = reply.send(Err(KadError::NoPeers));
                    return;
                }
                (dht.get_record(key.clone()), Running::Get(key, Vec::new(), reply))
            }
            Lookup::Put(_, _, reply) if alone => {
                let _ = reply.send(Err(KadError::NoPeers));
                return;
            }
            Lookup::Put(key, value, reply) => {
                if let Err(refused) = dht.store_mut().check_own(&Key::new(&key), &value) {
                    let _ = reply.send(Err(match refused {
                        Refused::Older => KadError::Outdated,
                        refused => KadError::Refused(format!("the value is refused: {refused}")),
                    }));
                    return;
                }
                let mut record = Record::new(key, value);
                record.expires = Some(Instant::now() + TTL);
                // All of the closest are told; that one of them has it is enough to say so.
                match dht.put_record(record, Quorum::All) {
                    Ok(id) => (id, Running::Put(reply)),
                    Err(error) => {
                        let _ = reply.send(Err(KadError::Refused(error.to_string())));
                        return;
                    }
                }
            }
        };
        self.running.insert(id, running);
    }

    /// Takes one step of a lookup; `last` when it is over.
    pub(crate) fn on_progress(
        &mut self,
        dht: &mut Dht,
        routing: &Routing,
        id: QueryId,
        result: QueryResult,
        last: bool,
    ) {
        if !last {
            let done = match (self.running.get_mut(&id), result) {
                (Some(Running::Providers(lookup)), QueryResult::GetProviders(Ok(found))) => {
                    lookup.on_found(dht, routing, &self.local, found);
                    false
                }
                (Some(Running::Get(key, votes, _)), QueryResult::GetRecord(Ok(found))) => {
                    // Where values are judged one peer may know more than all others.
                    on_value(votes, found) && !dht.store_mut().judge().knows(key.as_ref())
                }
                _ => false,
            };
            if done && let Some(mut query) = dht.query_mut(&id) {
                query.finish();
            }
            return;
        }
        match (self.running.remove(&id), result) {
            (Some(Running::Providers(mut lookup)), result) => {
                if let QueryResult::GetProviders(Ok(found)) = result {
                    lookup.on_found(dht, routing, &self.local, found);
                }
                lookup.on_end();
            }
            (Some(Running::Find(peer, reply)), QueryResult::GetClosestPeers(result)) => {
                let mut found = found_peer(peer, result);
                for provider in found.iter_mut().flatten() {
                    provider.addresses.retain(|a| routing.believes(dht, &peer, a));
                }
                let _ = reply.send(found);
            }
            (Some(Running::Get(key, mut votes, reply)), QueryResult::GetRecord(result)) => {
                let timed_out = matches!(result, Err(GetRecordError::Timeout { .. }));
                if let Ok(found) = result {
                    on_value(&mut votes, found);
                }
                let nothing = if timed_out {
                    KadError::TimedOut
                } else {
                    KadError::NotFound
                };
                let judge = dht.store_mut().judge();
                let found = if judge.knows(key.as_ref()) {
                    judge::best(&*judge, key.as_ref(), votes.iter().map(|(value, _)| value)).cloned()
                } else {
                    most_agreed(votes)
                };
                let _ = reply.send(found.ok_or(nothing));
            }
            (Some(Running::Put(reply)), QueryResult::PutRecord(result)) => {
                let _ = reply.send(put(result));
            }
            _ => {}
        }
    }
}

impl Running {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Providers(lookup) => lookup.poll_gone(cx),
            Self::Find(_, reply) => reply.poll_closed(cx),
            Self::Get(_, _, reply) => reply.poll_closed(cx),
            Self::Put(reply) => reply.poll_closed(cx),
        }
    }
}

fn found_peer(peer: PeerId, result: kad::GetClosestPeersResult) -> Result<Vec<Provider>, KadError> {
    let (peers, nothing) = match result {
        Ok(found) => (found.peers, KadError::NotFound),
        Err(GetClosestPeersError::Timeout { peers, .. }) => (peers, KadError::TimedOut),
    };
    let found = peers
        .into_iter()
        .find(|info| info.peer_id == peer)
        .ok_or(nothing)?;
    let mut addresses = Vec::new();
    append(&mut addresses, &peer, found.addrs);
    Ok(vec![Provider { peer, addresses }])
}

/// Counts a vote; whether enough peers agree.
fn on_value(votes: &mut Vec<(Vec<u8>, usize)>, found: GetRecordOk) -> bool {
    let GetRecordOk::FoundRecord(found) = found else {
        return false;
    };
    let value = found.record.value;
    match votes.iter_mut().find(|(voted, _)| *voted == value) {
        Some((_, count)) => *count += 1,
        None => votes.push((value, 1)),
    }
    votes.iter().any(|(_, count)| *count >= AGREEMENT)
}

/// The value with the most votes, of several the one heard last: our own copy is heard first and may be old.
fn most_agreed(votes: Vec<(Vec<u8>, usize)>) -> Option<Vec<u8>> {
    let best = votes.into_iter().max_by_key(|(_, count)| *count)?;
    Some(best.0)
}

fn put(result: kad::PutRecordResult) -> Result<(), KadError> {
    match result {
        Ok(_) => Ok(()),
        Err(PutRecordError::QuorumFailed { success, .. } | PutRecordError::Timeout { success, .. })
            if !success.is_empty() =>
        {
            Ok(())
        }
        Err(PutRecordError::QuorumFailed { .. }) => Err(KadError::Refused("no peer took the record".into())),
        Err(PutRecordError::Timeout { .. }) => Err(KadError::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_most_peers_agree_on_is_read() {
        let votes = vec![(b"lie".to_vec(), 1), (b"true".to_vec(), 2), (b"old".to_vec(), 1)];
        assert_eq!(most_agreed(votes), Some(b"true".to_vec()));
        let tie = vec![(b"our copy".to_vec(), 1), (b"the network's".to_vec(), 1)];
        assert_eq!(most_agreed(tie), Some(b"the network's".to_vec()));
        assert_eq!(most_agreed(Vec::new()), None);
    }
}
