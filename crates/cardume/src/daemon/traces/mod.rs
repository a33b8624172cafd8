//! Traces: the node's spans, sent to a collector. Only in a build with the feature `opentelemetry`.
#[cfg(feature = "opentelemetry")]
mod collector;
#[cfg(feature = "opentelemetry")]
mod sent;
#[cfg(not(feature = "opentelemetry"))]
mod unsent;

#[cfg(feature = "opentelemetry")]
pub(super) use self::sent::Traces;
#[cfg(not(feature = "opentelemetry"))]
pub(super) use self::unsent::Traces;
