//! Numbers of peers, and of what goes between them and this node.
use std::collections::BTreeMap;

use cardume_api::{Membership, Rates};
use cardume_connect::{Path, PeerInfo};
use cardume_exchange::Load;
use cardume_nat::{PlaceState, Reachability};
use cardume_rendezvous::PointState;

use super::Exposition;
use crate::routes::peers::transport;

/// Peers, by how they are reached.
pub(super) fn peers(text: &mut Exposition, count: u64, known: Option<&[PeerInfo]>) {
    text.family("peers", "gauge", "Peers connected.")
        .sample(&[], count);
    text.family(
        "peers_by_path",
        "gauge",
        "Peers connected, by the path and the transport of the best connection with them.",
    );
    let mut ways: BTreeMap<_, u64> = BTreeMap::new();
    for peer in known.unwrap_or_default() {
        let path = match peer.path {
            Path::Direct => "direct",
            Path::Punched => "punched",
            Path::Relayed => "relayed",
        };
        *ways.entry((path, transport(&peer.address))).or_default() += 1;
    }
    for ((path, transport), count) in ways {
        text.sample(&[("path", path), ("transport", transport)], count);
    }
}

/// How the node can be reached.
pub(super) fn nat(text: &mut Exposition, nat: Option<&cardume_nat::Status>) {
    text.family(
        "nat_reachability",
        "gauge",
        "1 for how others can dial this node: public, private, or unknown while nobody has tried.",
    );
    if let Some(nat) = nat {
        for (name, reachability) in [
            ("unknown", Reachability::Unknown),
            ("public", Reachability::Public),
            ("private", Reachability::Private),
        ] {
            let holds = nat.reachability == reachability;
            text.sample(&[("reachability", name)], u64::from(holds));
        }
    }
    text.family("relay_places", "gauge", "Relays of configuration, by state.");
    if let Some(nat) = nat {
        for (name, state) in [
            ("asking", PlaceState::Asking),
            ("held", PlaceState::Held),
            ("waiting", PlaceState::Waiting),
        ] {
            let count = nat.places.iter().filter(|place| place.state == state).count();
            text.sample(&[("state", name)], count);
        }
    }
    text.family(
        "hole_punches_total",
        "counter",
        "Relayed connections that were to become direct ones, by outcome.",
    )
    .known(&[("outcome", "punched")], nat.map(|nat| nat.punched))
    .known(&[("outcome", "failed")], nat.map(|nat| nat.unpunched));
    text.family(
        "relay_reservations",
        "gauge",
        "Peers that keep a place at this node, if it is a relay.",
    )
    .known(&[], nat.and_then(|nat| nat.reservations));
    text.family("relay_circuits", "gauge", "Connections that this node relays.")
        .known(&[], nat.map(|nat| nat.circuits));
}

/// The DHT.
pub(super) fn kad(text: &mut Exposition, kad: Option<&cardume_kad::Status>) {
    text.family(
        "kad_server",
        "gauge",
        "Whether the node answers lookups of the DHT.",
    )
    .known(&[], kad.map(|kad| u64::from(kad.server)));
    text.family("kad_peers", "gauge", "Peers in the routing table of the DHT.")
        .known(&[], kad.map(|kad| kad.peers));
    text.family(
        "kad_provided",
        "gauge",
        "Keys that this node announces in the DHT.",
    )
    .known(&[], kad.map(|kad| kad.provided));
    text.family("kad_records", "gauge", "Values of the DHT kept here.")
        .known(&[], kad.map(|kad| kad.records));
    text.family("kad_queries", "gauge", "Lookups and announcements under way.")
        .known(&[], kad.map(|kad| kad.queries));
    text.family("kad_announced_total", "counter", "Announcements made in the DHT.")
        .known(&[], kad.map(|kad| kad.announced));
    text.family(
        "kad_unsaved_total",
        "counter",
        "Rows of the DHT that were not written to disk, for the queue was full.",
    )
    .known(&[], kad.map(|kad| kad.unsaved));
}

/// Rendezvous points.
pub(super) fn rendezvous(text: &mut Exposition, rendezvous: Option<&cardume_rendezvous::Status>) {
    text.family(
        "rendezvous_points",
        "gauge",
        "Rendezvous points of configuration, by state.",
    );
    if let Some(rendezvous) = rendezvous {
        for (name, state) in [
            ("asking", PointState::Asking),
            ("registered", PointState::Registered),
            ("waiting", PointState::Waiting),
        ] {
            let count = rendezvous
                .points
                .iter()
                .filter(|point| point.state == state)
                .count();
            text.sample(&[("state", name)], count);
        }
    }
    text.family(
        "rendezvous_registrations",
        "gauge",
        "Registrations at this node, if it is a rendezvous point.",
    )
    .known(&[], rendezvous.and_then(|rendezvous| rendezvous.registrations));
}

/// Bytes of content, and of everything.
pub(super) fn bytes(
    text: &mut Exposition,
    transfer: &cardume_transfer::Handle,
    traffic: &cardume_transport::Traffic,
) {
    let content = transfer.total_traffic();
    text.family(
        "transfer_bytes_total",
        "counter",
        "Bytes of content over the network.",
    )
    .sample(&[("direction", "received")], content.received)
    .sample(&[("direction", "sent")], content.sent);
    let family = text.family(
        "network_bytes_total",
        "counter",
        "Bytes on all connections, by protocol and by where peers are; relayed ones also as the protocol relay.",
    );
    for share in traffic.all() {
        for (direction, bytes) in [("received", share.bytes.received), ("sent", share.bytes.sent)] {
            let labels = [
                ("protocol", share.protocol),
                ("class", share.class.name()),
                ("direction", direction),
            ];
            family.sample(&labels, bytes);
        }
    }
}

/// Requests for content, of this node and of its peers.
pub(super) fn requests(text: &mut Exposition, load: Load) {
    text.family(
        "exchange_window_requests",
        "gauge",
        "Requests for content that downloads may have on their way: the windows of their peers, within all limits.",
    )
    .sample(&[], load.window);
    text.family(
        "exchange_in_flight_requests",
        "gauge",
        "Requests for content on their way to peers.",
    )
    .sample(&[], load.in_flight);
    text.family(
        "exchange_answering_requests",
        "gauge",
        "Requests of peers being answered.",
    )
    .sample(&[], load.answering);
    text.family(
        "exchange_waiting_requests",
        "gauge",
        "Requests of peers that are answered when there is something new.",
    )
    .sample(&[], load.waiting);
}

pub(super) fn denied(text: &mut Exposition, denied: &BTreeMap<String, u64>) {
    let family = text.family(
        "denied_total",
        "counter",
        "Requests that an allow list has denied, by what they were for.",
    );
    for (action, count) in denied {
        family.sample(&[("action", action)], *count);
    }
}

/// How fast content goes, and the limits there are.
pub(super) fn rates(text: &mut Exposition, rates: &Rates) {
    text.family(
        "transfer_bytes_per_second",
        "gauge",
        "Bytes of content a second, over the last two seconds.",
    )
    .sample(&[("direction", "received")], rates.download)
    .sample(&[("direction", "sent")], rates.upload);
    text.family(
        "rate_limit_bytes_per_second",
        "gauge",
        "Limits that hold, by where peers are; what is not limited is left out.",
    );
    let limits = &rates.limits;
    for (class, sent, received) in [
        ("all", limits.upload, limits.download),
        ("lan", limits.lan.upload, limits.lan.download),
        ("wan", limits.wan.upload, limits.wan.download),
        ("relay", limits.relay.upload, limits.relay.download),
    ] {
        for (direction, limit) in [("received", received), ("sent", sent)] {
            if let Some(limit) = limit {
                text.sample(&[("class", class), ("direction", direction)], limit);
            }
        }
    }
}

/// Who was not let in, and how long this node will be.
pub(super) fn membership(text: &mut Exposition, membership: &Membership) {
    let refused = text.family(
        "refused_connections_total",
        "counter",
        "Connections that the gate of a closed network did not let in, by reason; reasons that nobody was are left out.",
    );
    for (reason, count) in &membership.refused {
        refused.sample(&[("reason", reason)], *count);
    }
    text.family(
        "certificate_expires_timestamp_seconds",
        "gauge",
        "When the certificate of this node expires, in seconds since 1970.",
    )
    .known(
        &[],
        membership
            .certificate
            .as_ref()
            .map(|certificate| certificate.until),
    );
    let lists = text.family(
        "revocations",
        "gauge",
        "Certificates and peers that are revoked, by authority.",
    );
    for list in &membership.revocations {
        lists.sample(&[("authority", &list.authority)], list.entries);
    }
}
