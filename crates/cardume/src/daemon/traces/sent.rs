//! Spans in batches, from a thread that waits for the collector so that nobody else does.
use std::{sync::OnceLock, time::Duration};

use anyhow::Context;
use cardume_node::config::Trace;
use multiaddr::PeerId;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider},
};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::{Layer, Registry, filter::filter_fn, reload};

use super::collector::{self, Collector};
use crate::daemon::log::Boxed;

/// Spans that wait to be sent, and those of one request: the defaults of OpenTelemetry's specification for batches. More
/// are dropped: they would fill memory while the collector is away.
const MAX_WAITING: usize = 2_048;
const MAX_AT_ONCE: usize = 512;
/// How long a span waits for others to be sent with; from the same place.
const INTERVAL: Duration = Duration::from_secs(5);
/// Time for what waits to be sent when the daemon stops: nobody waits long for a collector that is away.
const LAST_CALL: Duration = Duration::from_secs(1);

type Sending = OpenTelemetryLayer<Registry, SdkTracer>;

/// Sends spans from [`begin`](Self::begin) to [`end`](Self::end), if configuration says where to.
pub(in crate::daemon) struct Traces {
    config: Trace,
    layer: Option<reload::Handle<Option<Sending>, Registry>>,
    provider: OnceLock<SdkTracerProvider>,
}

impl Traces {
    /// What sends, and what is to hear of spans for it.
    pub(in crate::daemon) fn new(config: &Trace) -> (Self, Option<Boxed>) {
        let (layer, handle) = match &config.endpoint {
            Some(_) => {
                // Nothing is sent until the node knows who it is.
                let (layer, handle) = reload::Layer::new(None);
                // Spans of ours and no events: a collector of traces is no log, and libp2p has spans without number.
                let ours = filter_fn(|of| of.is_span() && of.target().starts_with("cardume"))
                    .with_max_level_hint(tracing::Level::INFO);
                (Some(layer.with_filter(ours).boxed()), Some(handle))
            }
            None => (None, None),
        };
        let traces = Self {
            config: config.clone(),
            layer: handle,
            provider: OnceLock::new(),
        };
        (traces, layer)
    }

    /// Sends from now on, as the node `peer`. Whatever goes wrong is no reason not to run.
    pub(in crate::daemon) fn begin(&self, peer: PeerId) {
        let (Some(handle), Some(endpoint)) = (&self.layer, &self.config.endpoint) else {
            return;
        };
        let begun = provider(&self.config, endpoint, peer).and_then(|provider| {
            let layer = tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("cardume"))
                // Nothing in here asks OpenTelemetry for the span that it is in.
                .with_context_activation(false)
                .with_tracked_inactivity(false)
                .with_location(false)
                .with_target(false)
                .with_threads(false);
            handle.reload(Some(layer))?;
            Ok(provider)
        });
        match begun {
            Ok(provider) => {
                tracing::info!(endpoint, sample = self.config.sample, "traces are sent");
                // It begins once.
                let _ = self.provider.set(provider);
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "no traces are sent"),
        }
    }

    /// Sends what waits, within a bound. Not to be called in a runtime: it waits.
    pub(in crate::daemon) fn end(self) {
        if let Some(provider) = self.provider.into_inner() {
            // What is late is lost, and the collector's absence has been told of.
            let _ = provider.shutdown_with_timeout(LAST_CALL);
        }
    }
}

fn provider(config: &Trace, endpoint: &str, peer: PeerId) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new(endpoint)?)
        .with_endpoint(endpoint)
        .with_timeout(collector::TIMEOUT)
        // The next batch tries; this one would keep it waiting.
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .context("OpenTelemetry")?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(MAX_WAITING)
        .with_max_export_batch_size(MAX_AT_ONCE)
        .with_scheduled_delay(INTERVAL)
        .build();
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches)
        .build();
    // Names of the semantic conventions for services.
    let resource = Resource::builder()
        .with_service_name("cardume")
        .with_attributes([
            KeyValue::new("service.instance.id", peer.to_string()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    // Whoever began a trace has decided for all of it.
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample)));
    Ok(SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_resource(resource)
        .with_sampler(sampler)
        .build())
}
