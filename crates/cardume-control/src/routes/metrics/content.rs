//! Numbers of the store, of what configuration wants, and of channels and topics.
use cardume_api::{Follow, FollowState, Share, ShareState, StoreStatus, WantedFetch, WantedState};
use cardume_channel::Counts;
use cardume_store::{Space, Usage};

use super::Exposition;

/// What the store takes, and what there is left.
pub(super) fn store(
    text: &mut Exposition,
    status: Option<&StoreStatus>,
    usage: Option<&Usage>,
    space: Option<Space>,
) {
    text.family("store_blobs", "gauge", "Blobs in the store.")
        .known(&[], usage.map(|usage| usage.blobs));
    text.family("store_bytes", "gauge", "Bytes of the store, by kind.")
        .known(&[("kind", "content")], usage.map(|usage| usage.content))
        .known(&[("kind", "in_place")], usage.map(|usage| usage.in_place))
        .known(&[("kind", "metadata")], usage.map(|usage| usage.metadata));
    text.family(
        "store_read_only",
        "gauge",
        "Whether the disk has failed and nothing is taken in.",
    )
    .known(&[], status.map(|store| u64::from(store.problem.is_some())));
    text.family("store_quota_bytes", "gauge", "Bytes the store may take.")
        .known(&[], status.and_then(|store| store.quota));
    text.family(
        "store_free_bytes",
        "gauge",
        "Bytes that the file system of the store has free for this node.",
    )
    .known(&[], space.map(|space| space.free));
    text.family(
        "store_keep_free_bytes",
        "gauge",
        "Bytes that this node leaves free there (store.keep_free).",
    )
    .known(&[], space.map(|space| space.keep));
}

/// How what configuration wants fetched and shared stands.
pub(super) fn wanted(text: &mut Exposition, fetches: &[WantedFetch], shares: &[Share]) {
    let family = text.family(
        "wanted_fetches",
        "gauge",
        "Fetches that configuration wants, by state.",
    );
    for state in [
        WantedState::Wanted,
        WantedState::Fetching,
        WantedState::Present,
        WantedState::Failed,
    ] {
        let count = fetches.iter().filter(|fetch| fetch.state == state).count();
        family.sample(&[("state", state.as_str())], count);
    }
    let family = text.family("shares", "gauge", "Shares of configuration, by state.");
    for (name, state) in [
        ("waiting", ShareState::Waiting),
        ("hashing", ShareState::Hashing),
        ("changing", ShareState::Changing),
        ("shared", ShareState::Shared),
        ("failed", ShareState::Failed),
    ] {
        let count = shares.iter().filter(|share| share.state == state).count();
        family.sample(&[("state", name)], count);
    }
}

/// Places that follow channels, and what became of records.
pub(super) fn channels(text: &mut Exposition, follows: &[Follow], counts: &Counts) {
    text.family(
        "follow_wanted_version",
        "gauge",
        "Number of the version that is to be there.",
    );
    for follow in follows {
        text.sample(&[("follow", &follow.name)], follow.wanted.unwrap_or(0));
    }
    text.family(
        "follow_present_version",
        "gauge",
        "Number of the version that is there.",
    );
    for follow in follows {
        text.sample(&[("follow", &follow.name)], follow.present.unwrap_or(0));
    }
    text.family(
        "follow_lag_seconds",
        "gauge",
        "Seconds since a version is wanted that is not there.",
    );
    for follow in follows {
        text.sample(&[("follow", &follow.name)], follow.lag_s);
    }
    text.family(
        "channel_records_taken_total",
        "counter",
        "Records of channels that were newer than what was known.",
    )
    .sample(&[], counts.taken());
    text.family(
        "channel_records_refused_total",
        "counter",
        "Records of channels that were refused, by reason.",
    );
    for (reason, count) in counts.refusals() {
        text.sample(&[("reason", reason)], count);
    }
    text.family(
        "follow_failed",
        "gauge",
        "Whether the version that is wanted cannot be brought there.",
    );
    for follow in follows {
        let has_failed = follow.state == FollowState::Failed;
        text.sample(&[("follow", &follow.name)], u64::from(has_failed));
    }
}

/// Messages on topics, and what became of those that configuration has delivered.
pub(super) fn topics(
    text: &mut Exposition,
    topics: &cardume_topic::Handle,
    known: Option<&[cardume_gossipsub::TopicStatus]>,
) {
    let own = |known: &[cardume_gossipsub::TopicStatus]| {
        known.iter().filter(|topic| topic.subscriptions > 0).count() as u64
    };
    let mesh =
        |known: &[cardume_gossipsub::TopicStatus]| known.iter().map(|topic| topic.mesh as u64).sum::<u64>();
    text.family(
        "topics_subscribed",
        "gauge",
        "Topics that this node is subscribed to.",
    )
    .known(&[], known.map(own));
    text.family(
        "topic_mesh_peers",
        "gauge",
        "Peers that messages are exchanged with at once, counted once for each topic.",
    )
    .known(&[], known.map(mesh));
    let counts = topics.counts();
    let family = text.family(
        "topic_messages_total",
        "counter",
        "Messages on topics, by what became of them.",
    );
    for (fate, count) in [
        ("published", counts.published),
        ("received", counts.received),
        ("ignored", counts.ignored),
        ("excess", counts.excess),
        ("rejected", counts.rejected),
        ("lost", counts.lost),
        ("unsent", counts.unsent),
    ] {
        family.sample(&[("fate", fate)], count);
    }
    let family = text.family(
        "topic_deliveries_total",
        "counter",
        "Messages that configuration has delivered.",
    );
    let all = topics.deliveries();
    for kind in ["exec", "webhook", "spool"] {
        let of_kind = || all.iter().filter(|one| one.kind == kind);
        family
            .sample(
                &[("kind", kind), ("fate", "delivered")],
                of_kind().map(|one| one.delivered).sum::<u64>(),
            )
            .sample(
                &[("kind", kind), ("fate", "failed")],
                of_kind().map(|one| one.failed).sum::<u64>(),
            )
            .sample(
                &[("kind", kind), ("fate", "lost")],
                of_kind().map(|one| one.lost).sum::<u64>(),
            );
    }
}

/// Tunnels, and what passes through them.
pub(super) fn tunnels(text: &mut Exposition, tunnels: &[cardume_tunnel::Status]) {
    use cardume_tunnel::{Role, State};
    let family = text.family(
        "tunnels",
        "gauge",
        "Tunnels, by which end the node is, and whether they can be used.",
    );
    for role in [Role::Expose, Role::Forward] {
        for state in ["ready", "failed"] {
            let is_so = |tunnel: &&cardume_tunnel::Status| {
                let failed = matches!(tunnel.state, State::Failed(_));
                tunnel.config.role == role && failed == (state == "failed")
            };
            let count = tunnels.iter().filter(is_so).count();
            family.sample(&[("role", role.name()), ("state", state)], count as u64);
        }
    }
    let family = text.family(
        "tunnel_connections",
        "gauge",
        "Connections that are open through a tunnel, or with UDP senders that are known.",
    );
    for tunnel in tunnels {
        family.sample(&[("tunnel", &tunnel.name)], tunnel.connections as u64);
    }
    let family = text.family(
        "tunnel_connections_total",
        "counter",
        "Connections through a tunnel, by whether they were opened.",
    );
    for tunnel in tunnels {
        for (fate, count) in [("opened", tunnel.opened), ("failed", tunnel.failed)] {
            family.sample(&[("tunnel", &tunnel.name), ("fate", fate)], count);
        }
    }
    let family = text.family("tunnel_bytes_total", "counter", "Bytes through a tunnel.");
    for tunnel in tunnels {
        for (direction, bytes) in [("received", tunnel.received), ("sent", tunnel.sent)] {
            family.sample(&[("tunnel", &tunnel.name), ("direction", direction)], bytes);
        }
    }
    let family = text.family(
        "tunnel_lost_total",
        "counter",
        "Datagrams that waited too long to go through a tunnel.",
    );
    for tunnel in tunnels {
        family.sample(&[("tunnel", &tunnel.name)], tunnel.lost);
    }
}
