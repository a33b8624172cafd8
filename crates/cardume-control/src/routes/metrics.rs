//! Numbers for who draws graphs.
use std::{collections::BTreeMap, fmt::Write};

use axum::{extract::State, http::header, response::IntoResponse};
use cardume_api::{Follow, Membership, Rates, WantedState};
use cardume_channel::Counts;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Shared, on_disk};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Numbers in the text format of Prometheus. Names are stable; numbers that are not known now are left out.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4"))
)]
async fn metrics(State(state): State<Shared>) -> impl IntoResponse {
    let status = state.status().await;
    let store = state.handles.store.clone();
    let usage = on_disk(move || Ok(store.usage()?)).await.ok();
    let (mut received, mut sent) = (0, 0);
    for (_, traffic) in state.handles.transfer.traffic() {
        received += traffic.received;
        sent += traffic.sent;
    }
    let mut text = Exposition::default();
    text.family("build_info", "gauge", "Always 1; the version is a label.")
        .sample(&[("version", &status.version)], 1);
    text.family("uptime_seconds", "gauge", "Seconds since the node started.")
        .sample(&[], status.uptime_s);
    text.family(
        "ready",
        "gauge",
        "Whether the node listens and its store answers.",
    )
    .sample(&[], u64::from(status.ready));
    text.family("peers", "gauge", "Peers connected.")
        .sample(&[], status.peers);
    text.family("roots", "gauge", "Roots in the store.")
        .sample(&[], status.roots);
    text.family("operations_running", "gauge", "Operations that run.")
        .sample(&[], status.operations);
    if let Some(usage) = usage {
        text.family("store_blobs", "gauge", "Blobs in the store.")
            .sample(&[], usage.blobs);
        text.family("store_bytes", "gauge", "Bytes of the store, by kind.")
            .sample(&[("kind", "content")], usage.content)
            .sample(&[("kind", "in_place")], usage.in_place)
            .sample(&[("kind", "metadata")], usage.metadata);
    }
    let is_read_only = status.store.as_ref().is_some_and(|store| store.problem.is_some());
    text.family(
        "store_read_only",
        "gauge",
        "Whether the disk has failed and nothing is taken in.",
    )
    .sample(&[], u64::from(is_read_only));
    if let Some(quota) = status.store.as_ref().and_then(|store| store.quota) {
        text.family("store_quota_bytes", "gauge", "Bytes the store may take.")
            .sample(&[], quota);
    }
    let fetches = &status.fetches;
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
        family.sample(&[("state", state.as_str())], count as u64);
    }
    channels(&mut text, &status.follows, &state.handles.channels.counts());
    text.family(
        "transfer_bytes_total",
        "counter",
        "Bytes of content over the network.",
    )
    .sample(&[("direction", "received")], received)
    .sample(&[("direction", "sent")], sent);
    let family = text.family(
        "network_bytes_total",
        "counter",
        "Bytes on all connections, by protocol and by where peers are; relayed ones also as the protocol relay.",
    );
    for share in state.handles.traffic.all() {
        for (direction, bytes) in [("received", share.bytes.received), ("sent", share.bytes.sent)] {
            let labels = [
                ("protocol", share.protocol),
                ("class", share.class.name()),
                ("direction", direction),
            ];
            family.sample(&labels, bytes);
        }
    }
    denied(&mut text, &status.denied);
    rates(&mut text, &status.rates);
    membership(&mut text, &status.membership);
    topics(&mut text, &state.handles.topics);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text.text,
    )
}

fn denied(text: &mut Exposition, denied: &BTreeMap<String, u64>) {
    let family = text.family(
        "denied_total",
        "counter",
        "Requests that an allow list has denied, by what they were for.",
    );
    for (action, count) in denied {
        family.sample(&[("action", action)], *count);
    }
}

/// Places that follow channels, and what became of records.
fn channels(text: &mut Exposition, follows: &[Follow], counts: &Counts) {
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
}

/// How fast content goes, and the limits there are.
fn rates(text: &mut Exposition, rates: &Rates) {
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

/// Messages on topics, and what became of those that configuration has delivered.
fn topics(text: &mut Exposition, topics: &cardume_topic::Handle) {
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
                of_kind().map(|one| one.delivered).sum(),
            )
            .sample(
                &[("kind", kind), ("fate", "failed")],
                of_kind().map(|one| one.failed).sum(),
            )
            .sample(
                &[("kind", kind), ("fate", "lost")],
                of_kind().map(|one| one.lost).sum(),
            );
    }
}

/// Who was not let in, and how long this node will be.
fn membership(text: &mut Exposition, membership: &Membership) {
    let refused = text.family(
        "refused_connections_total",
        "counter",
        "Connections that the gate of a closed network did not let in, by reason; reasons that nobody was are left out.",
    );
    for (reason, count) in &membership.refused {
        refused.sample(&[("reason", reason)], *count);
    }
    if let Some(certificate) = &membership.certificate {
        text.family(
            "certificate_expires_timestamp_seconds",
            "gauge",
            "When the certificate of this node expires, in seconds since 1970.",
        )
        .sample(&[], certificate.until);
    }
    let lists = text.family(
        "revocations",
        "gauge",
        "Certificates and peers that are revoked, by authority.",
    );
    for list in &membership.revocations {
        lists.sample(&[("authority", &list.authority)], list.entries);
    }
}

/// Text in the exposition format of Prometheus.
#[derive(Default)]
struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    fn family(&mut self, name: &'static str, kind: &str, about: &str) -> &mut Self {
        self.family = name;
        let _ = writeln!(
            self.text,
            "# HELP cardume_{name} {about}\n# TYPE cardume_{name} {kind}"
        );
        self
    }

    /// Labels must need no escaping but that of quotes and backslashes.
    fn sample(&mut self, labels: &[(&str, &str)], value: u64) -> &mut Self {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.text, "cardume_{}{labels} {value}", self.family);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_described_once_and_its_samples_follow() {
        let mut text = Exposition::default();
        text.family("a_total", "counter", "As.")
            .sample(&[("b", "c"), ("d", "e")], 1)
            .sample(&[], 2);
        assert_eq!(
            text.text,
            "# HELP cardume_a_total As.\n# TYPE cardume_a_total counter\n\
             cardume_a_total{b=\"c\",d=\"e\"} 1\ncardume_a_total 2\n"
        );
    }
}
