//! `[trace]`
use cardume_node::Config;
use cardume_topic::Url;

use super::Findings;

pub(super) fn check(config: &Config, found: &mut Findings) {
    let trace = &config.trace;
    if let Some(endpoint) = &trace.endpoint {
        let path = ["trace", "endpoint"];
        if !cfg!(feature = "opentelemetry") {
            // Whoever looks at the collector would wait for ever.
            let hint = "build with --features opentelemetry, or remove the key";
            found.add(&path, "built without the feature `opentelemetry`", Some(hint));
        } else if let Err(reason) = Url::parse(endpoint) {
            let hint =
                "as in \"http://127.0.0.1:4318/v1/traces\"; a token goes into OTEL_EXPORTER_OTLP_HEADERS";
            found.add(&path, format!("{endpoint:?} {reason}"), Some(hint));
        }
    }
    if !(0.0..=1.0).contains(&trace.sample) {
        let reason = format!("{} is out of range", trace.sample);
        found.add(&["trace", "sample"], reason, Some("from 0.0 to 1.0"));
    }
}
