//! Numbers for who draws graphs, and for who is woken by them.
mod content;
mod network;
mod process;
mod text;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::{extract::State, http::header, response::IntoResponse};
use cardume_api::{Kind, State as Ended};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{process::Process, text::Exposition};
use super::{Parts, Shared, on_disk};

/// For each part that is asked: a swarm that turns answers long before, and who scrapes waits ten seconds.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Numbers in the text format of Prometheus. Names are stable; numbers that are not known now are left out.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4"))
)]
async fn metrics(State(state): State<Shared>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.numbers().await,
    )
}

impl Parts {
    async fn numbers(&self) -> String {
        let handles = &self.handles;
        let store = handles.store.clone();
        let disk = async {
            let told = on_disk(move || Ok((store.usage()?, store.space(), Process::now())));
            tokio::time::timeout(PATIENCE, told).await.ok()?.ok()
        };
        let (status, disk, peers, nat, kad, rendezvous, topics) = tokio::join!(
            self.status(),
            disk,
            soon(handles.connect.peers()),
            soon(handles.nat.status()),
            soon(handles.kad.status()),
            soon(handles.rendezvous.status()),
            soon(handles.topics.topics()),
        );
        let mut text = Exposition::default();
        self.node(&mut text, &status);
        let (usage, space, process) = match disk {
            Some((usage, space, process)) => (Some(usage), space, process),
            None => (None, None, Process::default()),
        };
        content::store(&mut text, status.store.as_ref(), usage.as_ref(), space);
        content::wanted(&mut text, &status.fetches, &status.shares);
        content::channels(&mut text, &status.follows, &handles.channels.counts());
        content::topics(&mut text, &handles.topics, topics.as_deref());
        content::tunnels(&mut text, &handles.tunnels.list());
        network::peers(&mut text, status.peers, peers.as_deref());
        network::bytes(&mut text, &handles.transfer, &handles.traffic);
        network::requests(&mut text, handles.exchange.load());
        network::rates(&mut text, &status.rates);
        network::denied(&mut text, &status.denied);
        network::membership(&mut text, &status.membership);
        network::nat(&mut text, nat.as_ref());
        network::kad(&mut text, kad.as_ref());
        network::rendezvous(&mut text, rendezvous.as_ref());
        process.tell(&mut text);
        text.into_text()
    }

    fn node(&self, text: &mut Exposition, status: &cardume_api::Status) {
        text.family("build_info", "gauge", "Always 1; the version is a label.")
            .sample(&[("version", &status.version)], 1);
        let hash =
            cardume_content::Hash::of(self.handles.configuration.value().to_string().as_bytes()).to_hex();
        text.family(
            "config_info",
            "gauge",
            "Always 1; the label is the same where the configuration is.",
        )
        .sample(&[("hash", hash.get(..16).unwrap_or_default())], 1);
        text.family("uptime_seconds", "gauge", "Seconds since the node started.")
            .sample(&[], status.uptime_s);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        text.family(
            "time_seconds",
            "gauge",
            "What the clock of this node says, in seconds since 1970.",
        )
        .sample(&[], format_args!("{:.3}", now.as_secs_f64()));
        text.family(
            "ready",
            "gauge",
            "Whether the node listens and its store answers.",
        )
        .sample(&[], u64::from(status.ready));
        text.family("roots", "gauge", "Roots in the store.")
            .sample(&[], status.roots);
        text.family("memory_ceiling_bytes", "gauge", "connect.memory_ceiling.")
            .known(&[], Some(self.handles.configuration.facts().memory_ceiling));
        text.family("operations_running", "gauge", "Operations that run.")
            .sample(&[], status.operations);
        let family = text.family(
            "operations_ended_total",
            "counter",
            "Operations that have ended, by kind and by how.",
        );
        for (kind, state, count) in self.operations.ended() {
            family.sample(&[("kind", kind_name(kind)), ("state", state_name(state))], count);
        }
        let running = self.handles.exchange.running().len();
        text.family(
            "fetches_running",
            "gauge",
            "Fetches under way, or waiting for their turn.",
        )
        .sample(&[], running);
    }
}

/// What a part says, if it says it soon.
async fn soon<T, E>(asked: impl Future<Output = Result<T, E>>) -> Option<T> {
    tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Share => "share",
        Kind::Fetch => "fetch",
        Kind::Verify => "verify",
        Kind::Repair => "repair",
        Kind::Collect => "collect",
        Kind::Measure => "measure",
        _ => "other",
    }
}

const fn state_name(state: Ended) -> &'static str {
    match state {
        Ended::Running => "running",
        Ended::Done => "done",
        Ended::Failed => "failed",
        Ended::Cancelled => "cancelled",
    }
}
