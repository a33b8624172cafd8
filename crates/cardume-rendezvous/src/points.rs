//! The points that this node asks, and when. Pure: it is told the time.
use std::time::{Duration, Instant};

use libp2p_identity::PeerId;
use libp2p_request_response::OutboundRequestId;
use libp2p_swarm::ConnectionId;
use multiaddr::Multiaddr;

use crate::handle::{Point, PointState};

/// The first wait before a point that does not answer is asked again.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest one; a point that comes back is found within it.
const LONGEST: Duration = Duration::from_secs(300);
/// Registrations are made again no sooner than that, however short the point says that they last.
const LEAST: Duration = Duration::from_secs(30);
/// How soon a point hears of addresses that have changed: several change at once, as a rule.
const SETTLE: Duration = Duration::from_secs(1);

/// How far a round at a point has come: connect, register, ask who else is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To begin at this time.
    Due(Instant),
    Dialing(ConnectionId),
    Registering(OutboundRequestId),
    Discovering(OutboundRequestId),
}

#[derive(Debug)]
struct Place {
    peer: PeerId,
    address: Multiaddr,
    state: State,
    /// How long to wait if the next round fails.
    wait: Duration,
    /// When what was registered last ends.
    registered: Option<Instant>,
    /// Our addresses are others than those that were registered.
    is_stale: bool,
    /// Who was seen there, as the point tells it.
    cookie: Option<Vec<u8>>,
    found: usize,
    problem: Option<String>,
}

impl Place {
    fn fail(&mut self, problem: String, now: Instant) {
        tracing::debug!(point = %self.peer, problem, wait = ?self.wait, "no round at a rendezvous point");
        self.state = State::Due(now + jitter(self.wait));
        self.wait = (self.wait * 2).min(LONGEST);
        self.problem = Some(problem);
        self.cookie = None;
    }
}

/// The points, each with its state.
#[derive(Debug)]
pub(crate) struct Points {
    places: Vec<Place>,
    interval: Duration,
}

/// What a point is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// To be connected to.
    Dial(PeerId, Multiaddr),
    /// To be asked, since it is connected.
    Begin(PeerId),
}

impl Points {
    pub(crate) fn new(
        points: impl Iterator<Item = (PeerId, Multiaddr)>,
        interval: Duration,
        now: Instant,
    ) -> Self {
        let place = |(peer, address)| Place {
            peer,
            address,
            state: State::Due(now),
            wait: SHORTEST,
            registered: None,
            is_stale: false,
            cookie: None,
            found: 0,
            problem: None,
        };
        Self {
            places: points.map(place).collect(),
            interval,
        }
    }

    /// The next point whose round is to begin; whoever takes it says next how it went on.
    pub(crate) fn due(&self, is_connected: impl Fn(&PeerId) -> bool, now: Instant) -> Option<Step> {
        let due = self
            .places
            .iter()
            .find(|place| matches!(place.state, State::Due(at) if at <= now))?;
        Some(match is_connected(&due.peer) {
            true => Step::Begin(due.peer),
            false => Step::Dial(due.peer, due.address.clone()),
        })
    }

    /// When the next round is to begin.
    pub(crate) fn next(&self) -> Option<Instant> {
        let due = self.places.iter().filter_map(|place| match place.state {
            State::Due(at) => Some(at),
            _ => None,
        });
        due.min()
    }

    pub(crate) fn dialing(&mut self, peer: &PeerId, id: ConnectionId) {
        self.of(peer, |place| place.state = State::Dialing(id));
    }

    /// Whether a round can go on now that there is a connection.
    pub(crate) fn connected(&mut self, peer: &PeerId, now: Instant) {
        self.of(peer, |place| {
            if matches!(place.state, State::Dialing(_)) {
                place.state = State::Due(now);
            }
        });
    }

    pub(crate) fn dial_failed(&mut self, id: ConnectionId, problem: String, now: Instant) {
        if let Some(place) = self
            .places
            .iter_mut()
            .find(|place| place.state == State::Dialing(id))
        {
            place.fail(problem, now);
        }
    }

    pub(crate) fn registering(&mut self, peer: &PeerId, id: OutboundRequestId) {
        self.of(peer, |place| {
            place.state = State::Registering(id);
            place.is_stale = false;
        });
    }

    /// Takes in that nothing can be registered, for want of an address.
    pub(crate) fn has_no_address(&mut self, peer: &PeerId) {
        self.of(peer, |place| {
            place.registered = None;
            place.problem = Some("no address of this node is known that reaches as far as the point".into());
        });
    }

    pub(crate) fn discovering(&mut self, peer: &PeerId, id: OutboundRequestId) {
        self.of(peer, |place| place.state = State::Discovering(id));
    }

    /// What the point has told who was seen there.
    pub(crate) fn cookie(&self, peer: &PeerId) -> Option<Vec<u8>> {
        self.places
            .iter()
            .find(|place| place.peer == *peer)?
            .cookie
            .clone()
    }

    /// Takes in that the point knows this node for so many seconds; whether it was asked.
    pub(crate) fn registered(&mut self, id: OutboundRequestId, ttl: u64, now: Instant) -> bool {
        let asked = self
            .places
            .iter_mut()
            .find(|place| place.state == State::Registering(id));
        let Some(place) = asked else {
            return false;
        };
        if place.registered.is_none() {
            tracing::info!(point = %place.peer, ttl, "registered at a rendezvous point");
        }
        // More than a point may grant would be more than a clock can hold.
        place.registered = Some(now + Duration::from_secs(ttl.min(72 * 3600)));
        place.problem = None;
        true
    }

    /// Takes in who else is there: `more` may be, if asked again with the cookie. Ends the round.
    pub(crate) fn discovered(
        &mut self,
        id: OutboundRequestId,
        cookie: Vec<u8>,
        (found, more): (usize, bool),
        now: Instant,
    ) -> Option<PeerId> {
        let interval = self.interval;
        let place = self
            .places
            .iter_mut()
            .find(|place| place.state == State::Discovering(id))?;
        // From the start again when all were seen: some will have come back.
        place.cookie = more.then_some(cookie).filter(|cookie| !cookie.is_empty());
        place.found = found;
        place.wait = SHORTEST;
        let wait = if place.is_stale { SETTLE } else { jitter(interval) };
        // A registration must not end before it is made again.
        let half = place
            .registered
            .map(|ends| ends.saturating_duration_since(now) / 2);
        place.state = State::Due(now + half.map_or(wait, |half| wait.min(half.max(LEAST))));
        Some(place.peer)
    }

    /// Takes in that a request has failed or was refused; the point it was for.
    pub(crate) fn failed(&mut self, id: OutboundRequestId, problem: String, now: Instant) {
        let is_its =
            |place: &&mut Place| [State::Registering(id), State::Discovering(id)].contains(&place.state);
        if let Some(place) = self.places.iter_mut().find(is_its) {
            place.fail(problem, now);
        }
    }

    /// Takes in that our addresses are others now.
    pub(crate) fn addresses_changed(&mut self, now: Instant) {
        for place in &mut self.places {
            place.is_stale = true;
            // Who does not answer is not asked sooner for that.
            if place.wait == SHORTEST
                && let State::Due(at) = &mut place.state
            {
                *at = (*at).min(now + SETTLE);
            }
        }
    }

    pub(crate) fn status(&self, now: Instant) -> Vec<Point> {
        let point = |place: &Place| Point {
            peer: place.peer,
            address: place.address.clone(),
            state: match (place.registered, place.state) {
                (Some(ends), _) if ends > now => PointState::Registered,
                (_, State::Due(_)) => PointState::Waiting,
                _ => PointState::Asking,
            },
            found: place.found,
            problem: place.problem.clone(),
        };
        self.places.iter().map(point).collect()
    }

    fn of(&mut self, peer: &PeerId, change: impl FnOnce(&mut Place)) {
        if let Some(place) = self.places.iter_mut().find(|place| place.peer == *peer) {
            change(place);
        }
    }
}

/// Between three quarters and five quarters of `wait`, so that a crowd does not come back all at once.
fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.75..1.25))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    fn points(now: Instant) -> (Points, PeerId) {
        let peer = PeerId::random();
        let address = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        (Points::new([(peer, address)].into_iter(), INTERVAL, now), peer)
    }

    #[test]
    fn a_point_that_is_away_is_asked_again_ever_more_seldom() {
        let mut now = Instant::now();
        let (mut points, peer) = points(now);
        let mut waits = Vec::new();
        for n in 0..12 {
            let Some(Step::Dial(dialled, _)) = points.due(|_| false, now) else {
                panic!()
            };
            assert_eq!(dialled, peer);
            let id = ConnectionId::new_unchecked(n);
            points.dialing(&peer, id);
            assert_eq!((points.due(|_| false, now), points.next()), (None, None));
            points.dial_failed(id, "away".into(), now);
            // That addresses change brings it no sooner.
            points.addresses_changed(now);
            let next = points.next().unwrap();
            waits.push(next - now);
            now = next;
        }
        assert!(
            waits[0] < Duration::from_secs(2) || waits[0] == SETTLE,
            "{waits:?}"
        );
        assert!(
            waits[11] > LONGEST / 2 && waits[11] <= LONGEST * 5 / 4,
            "{waits:?}"
        );
        assert_eq!(points.status(now)[0].problem.as_deref(), Some("away"));
    }

    #[test]
    fn a_round_begins_when_there_is_a_connection() {
        let now = Instant::now();
        let (mut points, peer) = points(now);
        points.dialing(&peer, ConnectionId::new_unchecked(1));
        assert_eq!(points.status(now)[0].state, PointState::Asking);
        points.connected(&peer, now);
        assert_eq!(points.due(|_| true, now), Some(Step::Begin(peer)));
    }
}
