//! The page, for browsers that are logged in.
use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use cardume_content::Cid;
use cardume_page::{ICON, POLICY, SCRIPT, STYLE, View};

use super::{Parts, Shared};
use crate::{
    caller::Caller,
    gate::Remote,
    problem::{Refused, Result},
    rights::Right,
};

const HTML: &str = "text/html; charset=utf-8";

/// What the page is made from, and who is logged in.
#[derive(Clone)]
struct Page {
    parts: Shared,
    remote: Arc<Remote>,
}

/// The page and what it needs; behind the checks of where a request is from, and of no token.
pub(crate) fn routes(parts: Shared, remote: Arc<Remote>) -> Router {
    Router::new()
        .route("/", get(whole))
        .route("/page/live", get(live))
        .route("/page/qr/{cid}", get(qr))
        .route("/page.css", get(async || asset("text/css; charset=utf-8", STYLE)))
        .route(
            "/page.js",
            get(async || asset("text/javascript; charset=utf-8", SCRIPT)),
        )
        .route("/page.svg", get(async || asset("image/svg+xml", ICON)))
        .with_state(Page { parts, remote })
}

async fn whole(State(page): State<Page>, headers: HeaderMap) -> Response {
    match page.caller(&headers) {
        Ok(caller) => answer(HTML, cardume_page::page(&page.parts.view(&caller).await)),
        Err(_) => login(&page.parts.node.name, StatusCode::OK, None),
    }
}

async fn live(State(page): State<Page>, headers: HeaderMap) -> Response {
    match page.caller(&headers) {
        Ok(caller) => answer(HTML, cardume_page::live(&page.parts.view(&caller).await)),
        Err(refused) => refused.into_response(),
    }
}

async fn qr(State(page): State<Page>, Path(cid): Path<String>, headers: HeaderMap) -> Result<Response> {
    page.caller(&headers)?;
    let unknown = || Refused::not_found(format!("{cid} is no root of the store"));
    let wanted: Cid = cid.parse().map_err(|_| unknown())?;
    let files = page.parts.files().await?;
    let file = files
        .into_iter()
        .find(|file| file.cid == wanted)
        .ok_or_else(unknown)?;
    let picture = cardume_page::qr(&file.link).ok_or_else(unknown)?;
    Ok(answer("image/svg+xml", picture))
}

/// The form to log in by.
pub(super) fn login(node: &str, status: StatusCode, problem: Option<&str>) -> Response {
    let mut response = answer(HTML, cardume_page::login(node, problem));
    *response.status_mut() = status;
    response
}

impl Page {
    /// Whoever is logged in, and may look.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller> {
        let session = self.remote.session(headers);
        let nobody = || {
            let Refused(problem) = Refused::denied("log in first: cardume open");
            Refused(problem.with_status(StatusCode::UNAUTHORIZED.as_u16()))
        };
        let caller = Caller::from(session.ok_or_else(nobody)?);
        caller.check(Right::Read)?;
        Ok(caller)
    }
}

impl Parts {
    /// What the page shows. What does not answer is left out: that the node is not ready is shown anyway.
    async fn view(&self, caller: &Caller) -> View {
        let (status, peers, files, topics) =
            tokio::join!(self.status(), self.peers(), self.files(), self.topics());
        let files = files.unwrap_or_default();
        let names = self.names(&files);
        let may_operate = caller.check(Right::Operate).is_ok();
        let diagnosis = self.handles.doctor.last().filter(|_| may_operate);
        View {
            flows: self.flows(&names),
            names,
            status,
            peers: peers.unwrap_or_default(),
            operations: self.operations.list(),
            files,
            topics: topics.unwrap_or_default(),
            tunnels: super::tunnels::all(&self.handles.tunnels),
            diagnosis: diagnosis.map(|(found, ago)| (found, ago.as_secs())),
            may_change: caller.check(Right::Content).is_ok(),
            may_operate,
        }
    }
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    answer(kind, text.to_owned())
}

fn answer(kind: &'static str, text: String) -> Response {
    let fields = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // Without any, browsers would not say that a form is the page's own.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let mut response = text.into_response();
    for (name, value) in fields {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
