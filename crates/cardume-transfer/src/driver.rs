//! The feature on the swarm's task.
use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use cardume_behaviour::{Driven, Driver};
use libp2p_request_response::{self as request_response, InboundFailure, Message};
use libp2p_swarm::{DialError, FromSwarm, behaviour::DialFailure};

use crate::{
    error::shorten,
    inbound::Serves,
    lines::Lines,
    outbound::{Call, Inner, Outbound},
    stream::{Ask, Reply},
};

/// What the swarm's owner is told: nothing.
pub type Event = Infallible;

/// The transfer protocol as a behaviour of the swarm.
pub type Behaviour = Driven<Transfer>;

/// What drives the transfer protocol: requests of ours, and requests of others.
pub struct Transfer {
    pub(crate) outbound: Outbound,
    pub(crate) serves: Serves,
    pub(crate) lines: Lines,
}

impl Transfer {
    /// Requests of ours on the wire, which count against `max_in_flight`.
    pub fn in_flight(&self) -> usize {
        self.outbound.on_wire()
    }

    /// Requests of ours that wait for a connection, or for a change at a peer.
    pub fn waiting(&self) -> usize {
        self.outbound.waiting()
    }
}

impl Driver for Transfer {
    type Inner = Inner;
    type Command = Call;
    type Event = Event;

    fn is_ready(&self) -> bool {
        self.outbound.is_ready()
    }

    fn on_command(&mut self, inner: &mut Inner, call: Call) {
        self.outbound.take(inner, call);
    }

    fn on_event(&mut self, inner: &mut Inner, event: request_response::Event<Ask, Reply>) -> Option<Event> {
        use request_response::Event;

        match event {
            Event::Message {
                peer,
                connection_id,
                message:
                    Message::Request {
                        request_id,
                        request,
                        channel,
                    },
                ..
            } => {
                let class = self.lines.of_connection(&peer, connection_id);
                self.serves
                    .asked(inner, (peer, class), request_id, request.request, channel);
            }
            Event::Message {
                message: Message::Response { request_id, response },
                ..
            } => {
                self.outbound.answered(request_id, response.response);
            }
            Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                self.outbound.failed(peer, request_id, error);
            }
            Event::InboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                if !matches!(error, InboundFailure::ResponseOmission) {
                    tracing::debug!(%peer, error = shorten(&error.to_string()), "a request was not answered");
                }
                self.serves.ended(request_id, false);
            }
            Event::ResponseSent { request_id, .. } => self.serves.ended(request_id, true),
        }
        None
    }

    fn on_swarm_event(&mut self, _: &mut Inner, event: &FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                self.lines.opened(event);
                self.outbound.connected(event.peer_id);
            }
            FromSwarm::ConnectionClosed(event) => self.lines.closed(event),
            // Somebody else's dial to the peer is under way; that one counts.
            FromSwarm::DialFailure(DialFailure {
                error: DialError::DialPeerConditionFalse(_),
                ..
            }) => {}
            FromSwarm::DialFailure(DialFailure {
                peer_id: Some(peer),
                error,
                ..
            }) => {
                self.outbound.dial_failed(*peer, shorten(&error.to_string()));
            }
            _ => {}
        }
    }

    fn poll_local(&mut self, inner: &mut Inner, cx: &mut Context<'_>) -> Poll<()> {
        // Both, so that both have registered their wakers when neither moved.
        let answers = self.serves.poll(inner, cx);
        let requests = self.outbound.poll(inner, cx);
        if answers.is_ready() || requests.is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
