//! What a request passes before it is answered: who asks, from where, and whether they may.
use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cardume_api::{Code, Event};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::{
    attempts::{Attempts, Verdict},
    caller::Caller,
    events::Events,
    hosts::{Hosts, is_of_foreign_page, is_of_own_page},
    problem::{Refused, Result},
    rights::{Need, Right, needed},
    sessions::{Current, Sessions},
    tokens::Tokens,
};

/// Bytes of a path in the log and in events.
const MAX_PATH: usize = 256;

/// Where somebody at a TCP port comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From(pub(crate) SocketAddr);

/// What the gate at a TCP port knows.
pub(crate) struct Remote {
    pub(crate) hosts: Hosts,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) attempts: Attempts,
    /// Name of the cookie: browsers tell hosts apart by their name and not by their port.
    pub(crate) cookie: String,
}

/// At the socket: lets neither strangers nor web pages in.
pub(crate) async fn at_socket(caller: Caller, request: Request, next: Next) -> Response {
    // Whoever a looser file mode than ours has let in has no right at all.
    if let Err(refused) = caller.check(Right::Read) {
        return refused.into_response();
    }
    let headers = request.headers();
    // No page has business here, even where a proxy lets it through.
    if headers.contains_key(header::ORIGIN) || is_of_foreign_page(headers) {
        return Refused::denied("web pages may not use this node's socket").into_response();
    }
    next.run(request).await
}

/// At a TCP port: the name by which the node is called, and that no page elsewhere calls it.
pub(crate) async fn of_this_host(
    State(remote): State<Arc<Remote>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if !remote.hosts.are_named_by(request.uri(), headers) {
        let detail = "this host is not called so here; control.hosts has the names that it has";
        return Refused::denied(detail).into_response();
    }
    if is_of_foreign_page(headers) {
        return Refused::denied("pages of other origins may not use this node").into_response();
    }
    next.run(request).await
}

/// At a TCP port: lets in who shows a token, or the cookie of a session; numbers are for everybody.
pub(crate) async fn with_token(
    State(remote): State<Arc<Remote>>,
    mut request: Request,
    next: Next,
) -> Response {
    if need(&request) == Need::Nothing {
        return next.run(request).await;
    }
    match remote.admit(&request) {
        Ok(admitted) => {
            request.extensions_mut().insert(admitted.caller);
            admitted.lease.bind(next.run(request).await)
        }
        Err(refused) => *refused,
    }
}

/// Somebody who was let in, and for how long.
struct Admitted {
    caller: Caller,
    lease: Lease,
}

/// How long an answer may go on.
struct Lease {
    until: Option<Instant>,
    ended: Option<CancellationToken>,
}

impl Lease {
    /// Ends a stream of events with the right to read it.
    fn bind(self, response: Response) -> Response {
        let kind = response.headers().get(header::CONTENT_TYPE);
        let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if !is_stream || (self.until.is_none() && self.ended.is_none()) {
            return response;
        }
        let over = async move {
            let late = async {
                match self.until {
                    Some(until) => tokio::time::sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            let ended = async {
                match &self.ended {
                    Some(ended) => ended.cancelled().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { () = late => {}, () = ended => {} }
        };
        response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(over))))
    }
}

impl Remote {
    fn admit(&self, request: &Request) -> Result<Admitted, Box<Response>> {
        let now = Instant::now();
        let headers = request.headers();
        if let Some(token) = bearer(headers) {
            let Some(known) = self.tokens.check(token) else {
                return Err(Box::new(self.refuse(
                    request,
                    now,
                    "this token is none, is over, or was taken back",
                )));
            };
            let lease = Lease {
                until: known.left.map(|left| now + left),
                ended: Some(known.ended.clone()),
            };
            let caller = known.into();
            return Ok(Admitted { caller, lease });
        }
        let Some(session) = self.session(headers) else {
            let detail = "this takes a token: Authorization: Bearer and its secret";
            return Err(Box::new(unauthorized(detail)));
        };
        // A cookie comes along whoever has made the browser send it.
        let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
        if !is_safe && !is_of_own_page(headers) {
            return Err(Box::new(
                Refused::denied("not from the node's own page").into_response(),
            ));
        }
        let lease = Lease {
            until: Some(now + session.left),
            ended: Some(session.ended.clone()),
        };
        let caller = session.into();
        Ok(Admitted { caller, lease })
    }

    /// The session whose cookie a request has.
    pub(crate) fn session(&self, headers: &HeaderMap) -> Option<Current> {
        self.sessions.find(self.cookie(headers)?, Instant::now())
    }

    /// The secret of a session.
    pub(crate) fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let fields = headers.get_all(header::COOKIE).iter();
        let mut pairs = fields
            .filter_map(|field| field.to_str().ok())
            .flat_map(|field| field.split(';'));
        pairs.find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.cookie).then_some(value)
        })
    }

    /// Refuses a secret that is none, and counts it.
    pub(crate) fn refuse(&self, request: &Request, now: Instant, detail: &str) -> Response {
        let Some(From(address)) = request.extensions().get().copied() else {
            return unauthorized(detail);
        };
        match self.attempts.failed(address.ip(), now) {
            Verdict::First => {
                tracing::info!(target: "audit", %address, "refused: no such token or login; more of this address within a minute are not logged");
                unauthorized(detail)
            }
            Verdict::Again => unauthorized(detail),
            Verdict::Wait(left) => {
                let detail = "too many secrets from this address that are none; wait";
                let mut response = Refused::new(Code::Limit, detail).into_response();
                let seconds = HeaderValue::from(left.as_secs().max(1));
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
                response
            }
        }
    }
}

fn unauthorized(detail: &str) -> Response {
    let Refused(problem) = Refused::denied(detail);
    let problem = problem.with_status(StatusCode::UNAUTHORIZED.as_u16());
    let mut response = Refused(problem).into_response();
    let scheme = HeaderValue::from_static("Bearer realm=\"cardume\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    response
}

/// The secret in `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let field = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = field.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

fn need(request: &Request) -> Need {
    let route = request.extensions().get::<MatchedPath>();
    needed(request.method(), route.map_or("", MatchedPath::as_str))
}

/// Refuses what the caller has no right to, and writes down what changes the node.
pub(crate) async fn with_right(State(events): State<Arc<Events>>, request: Request, next: Next) -> Response {
    let Need::Right(right) = need(&request) else {
        return next.run(request).await;
    };
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return unauthorized("nobody knows who asks");
    };
    // What is not there says so itself.
    let is_there = request.extensions().get::<MatchedPath>().is_some();
    let right = if is_there { right } else { Right::Read };
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let is_audited = right.is_audited() && changes && is_there;
    let (method, path) = (request.method().clone(), cut(request.uri().path()));
    let response = match caller.check(right) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    };
    if is_audited {
        let (who, status) = (caller.to_string(), response.status().as_u16());
        tracing::info!(target: "audit", who, %method, path, status, "a call that changes the node");
        events.publish(&Event::Audit {
            who,
            method: method.to_string(),
            path,
            status,
        });
    }
    response
}

fn cut(path: &str) -> String {
    // A path is ASCII: what is not is percent-encoded.
    path.chars().take(MAX_PATH).collect()
}
