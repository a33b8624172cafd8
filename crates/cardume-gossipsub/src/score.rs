//! What neighbours are thought of.
//!
//! libp2p's gossipsub sums what a peer does into a score: below zero it is in no mesh, below -10 no gossip is exchanged
//! with it, below -50 nothing is published to it, below -80 nothing is heard from it. `docs/protocols/topics.md` says
//! the same for other implementations.
use std::{collections::HashMap, time::Duration};

use libp2p_gossipsub as gossipsub;
use libp2p_identity::PeerId;

/// Points for one message above a limit of its author, and for one RPC that was not looked at.
const EXCESS: f64 = 1.0;
/// Time in which points are halved.
const HALF_LIFE: f64 = 5.0;
/// Points of one peer, at most: it is heard again a minute after it has become quiet.
const MAX_POINTS: f64 = 2_000.0;
/// Points that are none any more.
const NO_POINTS: f64 = 0.1;
/// Peers with points. Each has or had a connection, which are bounded too; more than these are not kept.
const MAX_OFFENDERS: usize = 1024;

/// Where scores make a difference.
pub(crate) fn thresholds() -> gossipsub::PeerScoreThresholds {
    gossipsub::PeerScoreThresholds {
        gossip_threshold: -10.0,
        publish_threshold: -50.0,
        graylist_threshold: -80.0,
        accept_px_threshold: 1_000.0,
        opportunistic_graft_threshold: 1.0,
    }
}

/// How the behaviour of a peer counts on all topics.
pub(crate) fn of_peers() -> gossipsub::PeerScoreParams {
    gossipsub::PeerScoreParams {
        topics: HashMap::new(),
        // Whatever good a peer does, it can be forgiven so much and no more.
        topic_score_cap: 20.0,
        // The points of `Offenders`.
        app_specific_weight: 1.0,
        // More than three peers at one public address. Those on private networks have none here: see `mesh`.
        ip_colocation_factor_weight: -5.0,
        ip_colocation_factor_threshold: 3.0,
        ip_colocation_factor_whitelist: Default::default(),
        // Broken promises, and grafts before their time. Programs that name messages in another way than the
        // specification seem to break a promise now and then, and are forgiven ten.
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 10.0,
        behaviour_penalty_decay: 0.8,
        decay_interval: Duration::from_secs(1),
        decay_to_zero: 0.01,
        // Peer ids cost nothing, and each that has gone takes memory for so long.
        retain_score: Duration::from_secs(600),
        slow_peer_weight: -0.2,
        slow_peer_threshold: 10.0,
        slow_peer_decay: 0.8,
    }
}

/// How the behaviour of a peer counts on one topic.
pub(crate) fn of_topic() -> gossipsub::TopicScoreParams {
    gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        // Up to 5 points for five minutes in the mesh.
        time_in_mesh_weight: 1.0 / 60.0,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 300.0,
        // Up to 15 for messages that it was the first to bring.
        first_message_deliveries_weight: 0.5,
        first_message_deliveries_decay: 0.95,
        first_message_deliveries_cap: 30.0,
        // None for bringing too few: nobody can say how many a topic should have.
        mesh_message_deliveries_weight: 0.0,
        mesh_message_deliveries_decay: 0.5,
        mesh_message_deliveries_cap: 1.0,
        mesh_message_deliveries_threshold: 1.0,
        mesh_message_deliveries_window: Duration::from_millis(10),
        mesh_message_deliveries_activation: Duration::from_secs(5),
        mesh_failure_penalty_weight: 0.0,
        mesh_failure_penalty_decay: 0.5,
        // The square of the number of invalid ones: signatures that are wrong, what validators reject, and what comes
        // above the limit of a neighbour. Eleven silence a peer, for about half a minute.
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: 0.95,
    }
}

/// Peers that publish more than they may.
#[derive(Debug, Default)]
pub(crate) struct Offenders(HashMap<PeerId, f64>);

impl Offenders {
    /// Notes so many things that a peer sent above a limit, and returns its new points.
    pub(crate) fn note(&mut self, peer: PeerId, count: u32) -> Option<f64> {
        if self.0.len() >= MAX_OFFENDERS && !self.0.contains_key(&peer) {
            return None;
        }
        let points = self.0.entry(peer).or_default();
        *points = (*points + EXCESS * f64::from(count)).min(MAX_POINTS);
        Some(*points)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets a time go by, and returns the points of everybody, of which some become none.
    pub(crate) fn fade(&mut self, elapsed: Duration) -> Vec<(PeerId, f64)> {
        let factor = 0.5_f64.powf(elapsed.as_secs_f64() / HALF_LIFE);
        let faded = |(peer, points): (&PeerId, &mut f64)| {
            *points *= factor;
            if *points < NO_POINTS {
                *points = 0.0;
            }
            (*peer, *points)
        };
        let all = self.0.iter_mut().map(faded).collect();
        self.0.retain(|_, points| *points > 0.0);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_are_such_as_the_protocol_allows() {
        of_peers().validate().unwrap();
        of_topic().validate().unwrap();
        thresholds().validate().unwrap();
    }

    #[test]
    fn a_flooder_is_silenced_soon_and_heard_again_when_it_has_been_quiet() {
        let (mut offenders, peer) = (Offenders::default(), PeerId::random());
        let points = (0..100).filter_map(|_| offenders.note(peer, 1)).last().unwrap();
        assert!(-points + of_peers().topic_score_cap < thresholds().graylist_threshold + 1.0);
        for _ in 0..10_000 {
            offenders.note(peer, 1);
        }
        let left = offenders.fade(Duration::from_secs(60));
        assert!(left[0].1 < -thresholds().publish_threshold, "{left:?}");
        assert!(!offenders.fade(Duration::from_secs(120)).is_empty());
        assert!(offenders.is_empty());
    }
}
