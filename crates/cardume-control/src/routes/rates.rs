//! How fast content may go.
use std::{num::NonZeroU64, time::Duration};

use axum::{Json, extract::State};
use cardume_access::rates;
use cardume_api::{ClassLimits, NewRates, Problem, RateLimits, Rates, RatesOrigin};
use cardume_transfer::rates::{Origin, Report};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Shared;
use crate::{
    extract::Json as Body,
    problem::{Refused, Result},
};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(get, set, reset))
}

/// How fast content may go, and how fast it goes.
#[utoipa::path(get, path = "/v1/rates", operation_id = "get_rates", tag = "node", responses((status = 200, body = Rates)))]
async fn get(State(state): State<Shared>) -> Json<Rates> {
    Json(told(state.handles.rates.report()))
}

/// Replaces all limits, for a time or until restart. They count for what is under way too; schedules wait.
#[utoipa::path(
    put, path = "/v1/rates", operation_id = "set_rates", tag = "node", request_body = NewRates,
    responses((status = 200, body = Rates), (status = 400, body = Problem))
)]
async fn set(State(state): State<Shared>, Body(new): Body<NewRates>) -> Result<Json<Rates>> {
    let rates = taken(&new.limits)?;
    let set = state.handles.rates.set(rates, new.for_s.map(Duration::from_secs));
    set.map_err(|mistake| Refused::usage(format!("{} {}", mistake.path.join("."), mistake.reason)))?;
    tracing::info!(for_s = new.for_s, "other rates: asked over the control socket");
    Ok(Json(told(state.handles.rates.report())))
}

/// Goes back to what the configuration says.
#[utoipa::path(delete, path = "/v1/rates", operation_id = "reset_rates", tag = "node", responses((status = 200, body = Rates)))]
async fn reset(State(state): State<Shared>) -> Json<Rates> {
    state.handles.rates.reset();
    tracing::info!("the configured rates: asked over the control socket");
    Json(told(state.handles.rates.report()))
}

/// A report, as the API words it.
pub(super) fn told(report: Report) -> Rates {
    let (origin, ends_in) = match report.origin {
        Origin::Configuration => (RatesOrigin::Configuration, None),
        Origin::Schedule => (RatesOrigin::Schedule, None),
        Origin::Live { ends_in } => (RatesOrigin::Live, ends_in),
    };
    Rates {
        limits: limits(&report.rates),
        origin,
        schedule: report.schedule,
        ends_in_s: ends_in.map(|left| left.as_secs()),
        configured: limits(&report.configured),
        upload: report.upload,
        download: report.download,
    }
}

fn limits(rates: &rates::Rates) -> RateLimits {
    let of = |limits: &rates::Limits| ClassLimits {
        upload: limits.upload.map(NonZeroU64::get),
        download: limits.download.map(NonZeroU64::get),
        per_peer: limits.per_peer.map(NonZeroU64::get),
    };
    let all = of(&rates.all);
    RateLimits {
        upload: all.upload,
        download: all.download,
        per_peer: all.per_peer,
        lan: of(&rates.lan),
        wan: of(&rates.wan),
        relay: of(&rates.relay),
    }
}

fn taken(limits: &RateLimits) -> Result<rates::Rates> {
    let all = ClassLimits {
        upload: limits.upload,
        download: limits.download,
        per_peer: limits.per_peer,
    };
    Ok(rates::Rates {
        all: of_class(&all)?,
        lan: of_class(&limits.lan)?,
        wan: of_class(&limits.wan)?,
        relay: of_class(&limits.relay)?,
    })
}

fn of_class(limits: &ClassLimits) -> Result<rates::Limits> {
    let limit = |bytes: Option<u64>| match bytes {
        None => Ok(None),
        Some(bytes) => {
            let zero =
                || Refused::usage("a limit of 0 bytes a second would stop everything; null is no limit");
            NonZeroU64::new(bytes).map(Some).ok_or_else(zero)
        }
    };
    Ok(rates::Limits {
        upload: limit(limits.upload)?,
        download: limit(limits.download)?,
        per_peer: limit(limits.per_peer)?,
    })
}
