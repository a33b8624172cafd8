//! What goes over the node's connections.
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use axum::{Json, extract::State};
use cardume_api::{NetTraffic, Problem, TrafficShare};
use cardume_transport::{Bytes, Share};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Shared;
use crate::{
    extract::Query,
    problem::{Refused, Result},
};

/// Time for which is measured how fast bytes go, unless the caller says otherwise.
const MEASURED: u64 = 1_000;
/// … and at most: the caller waits for it.
const LONGEST: u64 = 10_000;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(get))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    measure_ms: Option<u64>,
}

/// Bytes on all connections since the node started, by protocol and by where peers are; answered after `measure_ms`,
/// for which it is measured how fast they go.
#[utoipa::path(
    get, path = "/v1/net/traffic", operation_id = "get_traffic", tag = "node",
    params(("measure_ms" = Option<u64>, Query)),
    responses((status = 200, body = NetTraffic), (status = 400, body = Problem))
)]
async fn get(State(state): State<Shared>, Query(asked): Query<Asked>) -> Result<Json<NetTraffic>> {
    let time = asked.measure_ms.unwrap_or(MEASURED);
    if time > LONGEST {
        return Err(Refused::usage(format!("measure_ms is more than {LONGEST}")));
    }
    let (before, began) = (state.handles.traffic.all(), Instant::now());
    if time > 0 {
        tokio::time::sleep(Duration::from_millis(time)).await;
    }
    let (after, took) = (state.handles.traffic.all(), began.elapsed());
    let took = (time > 0).then_some(took);
    Ok(Json(NetTraffic {
        uptime_s: state.started.elapsed().as_secs(),
        measured_ms: took.map_or(0, |took| took.as_millis() as u64),
        protocols: measured(
            &by(&before, |share| share.protocol),
            &by(&after, |share| share.protocol),
            took,
        ),
        classes: measured(
            &by(&before, |share| share.class.name()),
            &by(&after, |share| share.class.name()),
            took,
        ),
    }))
}

/// The bytes with one peer, by protocol.
pub(super) fn with(shares: &[Share]) -> Vec<TrafficShare> {
    measured(&BTreeMap::new(), &by(shares, |share| share.protocol), None)
}

type Sums = BTreeMap<&'static str, Bytes>;

fn by(shares: &[Share], name: impl Fn(&Share) -> &'static str) -> Sums {
    let mut sums = Sums::new();
    for share in shares {
        sums.entry(name(share)).or_default().add(share.bytes);
    }
    sums
}

/// What there was `after`, and how fast it came since `before`.
fn measured(before: &Sums, after: &Sums, took: Option<Duration>) -> Vec<TrafficShare> {
    let share = |(name, bytes): (&&'static str, &Bytes)| {
        let earlier = before.get(name).copied().unwrap_or_default();
        let rate = |now: u64, then: u64| {
            took.map(|took| (now.saturating_sub(then) as f64 / took.as_secs_f64()) as u64)
        };
        TrafficShare {
            name: (*name).to_owned(),
            sent: bytes.sent,
            received: bytes.received,
            sent_per_s: rate(bytes.sent, earlier.sent),
            received_per_s: rate(bytes.received, earlier.received),
        }
    };
    after.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use cardume_access::rates::Class;

    use super::*;

    #[test]
    fn sums_are_by_name_and_rates_by_what_came_since() {
        let share = |protocol, class, sent| Share {
            protocol,
            class,
            bytes: Bytes { received: 1, sent },
        };
        let before = [share("kad", Class::Lan, 5)];
        let after = [share("kad", Class::Lan, 25), share("kad", Class::Wan, 10)];
        let name = |share: &Share| share.protocol;
        let told = measured(
            &by(&before, name),
            &by(&after, name),
            Some(Duration::from_secs(2)),
        );
        let expected = TrafficShare {
            name: "kad".into(),
            sent: 35,
            received: 2,
            sent_per_s: Some(15),
            received_per_s: Some(0),
        };
        assert_eq!(told, [expected]);
        assert_eq!(with(&after)[0].sent_per_s, None);
    }
}
