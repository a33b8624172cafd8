//! How a browser comes in, and goes.
use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{Shared, page};
use crate::{
    gate::Remote,
    hosts::is_of_own_page,
    problem::Refused,
    sessions::{Bearer, SESSION_LIFE},
};

/// Bytes of a form with a token in it.
const MAX_FORM: usize = 1024;

/// Browsers, and what they are told that this node is called.
#[derive(Clone)]
struct Browsers {
    remote: Arc<Remote>,
    name: Arc<str>,
}

/// Where a browser logs in and out; behind the checks of who it is and where its page is from, and of no token.
pub(crate) fn routes(parts: Shared, remote: Arc<Remote>) -> Router {
    let name: Arc<str> = parts.node.name.as_str().into();
    Router::new()
        .route("/open", get(open))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .with_state(Browsers { remote, name })
}

/// Takes the code that `cardume open` got, and sends the browser on, so that it stays in no address bar and no history.
async fn open(State(Browsers { remote, .. }): State<Browsers>, request: Request) -> Response {
    let now = Instant::now();
    let query = request.uri().query().unwrap_or_default();
    let code = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "code");
    let bearer = code.and_then(|(_, code)| remote.sessions.redeem(&code, now));
    match bearer {
        Some(bearer) => remote.begin(bearer, None, now),
        None => remote.refuse(
            &request,
            now,
            "this address was used, or is older than a minute: cardume open",
        ),
    }
}

/// Takes a token, from a form of our own.
async fn login(State(Browsers { remote, name }): State<Browsers>, request: Request) -> Response {
    let now = Instant::now();
    if !is_of_own_page(request.headers()) {
        return Refused::denied("not from the node's own page").into_response();
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_FORM).await else {
        return Refused::usage("the form is too large, or did not come").into_response();
    };
    let request = Request::from_parts(parts, Body::empty());
    match token(&body).and_then(|token| remote.tokens.check(&token)) {
        Some(known) => {
            let left = known.left;
            remote.begin(known.into(), left, now)
        }
        None => {
            let detail = "this token is none, is over, or was taken back";
            let refused = remote.refuse(&request, now, detail);
            match is_for_eyes(request.headers()) {
                true => page::login(&name, refused.status(), Some(detail)),
                false => refused,
            }
        }
    }
}

/// Whether it is a browser that shows the answer to somebody.
fn is_for_eyes(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok());
    accept.is_some_and(|kinds| kinds.contains("text/html"))
}

fn token(form: &Bytes) -> Option<String> {
    let mut fields = form_urlencoded::parse(form);
    let (_, token) = fields.find(|(key, _)| key == "token")?;
    Some(token.trim().to_owned())
}

async fn logout(State(Browsers { remote, .. }): State<Browsers>, request: Request) -> Response {
    if !is_of_own_page(request.headers()) {
        return Refused::denied("not from the node's own page").into_response();
    }
    if let Some(secret) = remote.cookie(request.headers()) {
        remote.sessions.end(secret, Instant::now());
    }
    to_page(&format!(
        "{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict",
        remote.cookie
    ))
}

impl Remote {
    /// Begins a session, and sends the browser to the page.
    fn begin(&self, bearer: Bearer, life: Option<std::time::Duration>, now: Instant) -> Response {
        match self.sessions.begin(bearer, life, now) {
            Ok(secret) => to_page(&format!(
                "{}={secret}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict",
                self.cookie,
                SESSION_LIFE.as_secs(),
            )),
            Err(error) => {
                Refused::new(cardume_api::Code::Failed, format!("no random numbers: {error}")).into_response()
            }
        }
    }
}

fn to_page(cookie: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static("/"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let cookie = HeaderValue::from_str(cookie).expect("a cookie of ours is ASCII");
    headers.insert(header::SET_COOKIE, cookie);
    response
}
