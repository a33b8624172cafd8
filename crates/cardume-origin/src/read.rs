//! One request: asked, followed where it leads, and its answer checked before a byte of it is handed on.
use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    header::{
        ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HOST, HeaderName,
        LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER, USER_AGENT,
    },
};
use tokio::sync::mpsc;

use crate::{
    Address, OriginError, Pace,
    handle::{Command, Named},
    host::{Hosts, Turn},
    line::{Line, broken},
};

/// Redirects followed; more go in circles.
const MAX_REDIRECTS: usize = 5;
/// Chunks read and not taken yet.
const CHUNKS: usize = 4;
/// Characters of what a server says about its file that are kept.
const MAX_VALIDATOR: usize = 200;

/// A part of a file, as it comes. Dropping it ends the request.
#[derive(Debug)]
pub struct Body {
    total: Option<u64>,
    start: u64,
    is_ranged: bool,
    validator: Option<String>,
    chunks: mpsc::Receiver<Result<Bytes, OriginError>>,
}

impl Body {
    /// Bytes of the whole file, if the server says so.
    pub const fn total(&self) -> Option<u64> {
        self.total
    }

    /// Where in the file it begins: where it was asked to, or 0 when the server has no ranges.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Whether the server gives parts of files.
    pub const fn is_ranged(&self) -> bool {
        self.is_ranged
    }

    /// What changes when the file does, as far as the server tells.
    pub fn validator(&self) -> Option<&str> {
        self.validator.as_deref()
    }

    /// The next bytes; none after the last that was asked for.
    ///
    /// # Errors
    /// When the server stands still or breaks off.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        self.chunks.recv().await.transpose()
    }
}

/// An answer that begins well.
struct Opened {
    address: Address,
    turn: Turn,
    line: Line,
    body: Incoming,
    head: Head,
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    total: Option<u64>,
    /// What comes.
    range: Range<u64>,
    is_ranged: bool,
    validator: Option<String>,
}

/// Runs one request to its end, or until nobody wants it any more.
pub(crate) async fn serve(hosts: Arc<Hosts>, pace: Pace, command: Command) {
    let Command {
        address,
        range,
        named,
        mut opened,
    } = command;
    let found = tokio::select! {
        found = open(&hosts, address, &range, named) => found,
        () = opened.closed() => return,
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            // Whoever asked may have gone.
            let _ = opened.send(Err(error));
            return;
        }
    };
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let body = Body {
        total: found.head.total,
        start: found.head.range.start,
        is_ranged: found.head.is_ranged,
        validator: found.head.validator.clone(),
        chunks,
    };
    if opened.send(Ok(body)).is_ok() {
        pump(&hosts, &pace, found, &sender).await;
    }
}

/// Hands the body on, as fast as it is taken.
async fn pump(hosts: &Hosts, pace: &Pace, opened: Opened, sender: &mpsc::Sender<Result<Bytes, OriginError>>) {
    let Opened {
        address,
        turn,
        mut line,
        mut body,
        head,
    } = opened;
    let mut left = head.range.end.saturating_sub(head.range.start);
    loop {
        let read = tokio::time::timeout(hosts.stall_timeout, line.bytes(&mut body));
        let read = tokio::select! {
            read = read => read,
            () = sender.closed() => return,
        };
        let failure = match read {
            Ok(Some(Ok(mut bytes))) => {
                bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                left -= bytes.len() as u64;
                pace(bytes.len() as u64).await;
                if !bytes.is_empty() && sender.send(Ok(bytes)).await.is_err() {
                    return;
                }
                if left > 0 || head.range.is_empty() {
                    continue;
                }
                // The end of the answer makes the connection free for the next.
                let end = tokio::time::timeout(END, line.bytes(&mut body)).await;
                if matches!(end, Ok(None)) && line.is_open() {
                    turn.host.keep(line);
                }
                return;
            }
            Ok(Some(Err(error))) => broken(&address, &error),
            Ok(None) if left == 0 || head.range.end == u64::MAX => return,
            Ok(None) => OriginError::Broken {
                host: address.authority(),
                reason: format!("{left} bytes are missing"),
            },
            Err(_) => OriginError::Stalled {
                host: address.authority(),
                after: hosts.stall_timeout,
            },
        };
        // Whoever reads may have gone.
        let _ = sender.send(Err(failure)).await;
        return;
    }
}

/// How long the end of an answer is waited for whose bytes are all here.
const END: Duration = Duration::from_millis(500);

/// Asks, and follows redirects to what may be asked.
async fn open(
    hosts: &Hosts,
    address: Address,
    range: &Range<u64>,
    named: Named,
) -> Result<Opened, OriginError> {
    let url = address.to_string();
    let mut at = address;
    let mut may_be_private = named == Named::ByUser || hosts.allows(at.host());
    for _ in 0..=MAX_REDIRECTS {
        let turn = hosts.turn(&at).await?;
        let (line, response) = ask(hosts, &turn, &at, range, may_be_private).await?;
        let is_private = line.is_private;
        if let Some(location) = redirect(&response) {
            let next = at.redirected(&location).ok_or_else(|| OriginError::Redirect {
                url: url.clone(),
                reason: format!("to {:?}, which is not HTTPS", cut(&location)),
            })?;
            // A host on the open web does not lead into a private network.
            may_be_private = is_private || hosts.allows(next.host());
            at = next;
            continue;
        }
        let head = check(&turn, &at, &response, range)?;
        return Ok(Opened {
            address: at,
            turn,
            line,
            body: response.into_body(),
            head,
        });
    }
    Err(OriginError::Redirect {
        url,
        reason: format!("more than {MAX_REDIRECTS} times"),
    })
}

/// Asks on a connection that is there, or on a new one.
async fn ask(
    hosts: &Hosts,
    turn: &Turn,
    at: &Address,
    range: &Range<u64>,
    may_be_private: bool,
) -> Result<(Line, Response<Incoming>), OriginError> {
    let stalled = || OriginError::Stalled {
        host: at.authority(),
        after: hosts.stall_timeout,
    };
    while let Some(mut line) = turn.host.idle() {
        if line.is_private && !may_be_private {
            continue;
        }
        let sent = tokio::time::timeout(hosts.stall_timeout, line.send(request(hosts, at, range)));
        match sent.await {
            Ok(Ok(response)) => return Ok((line, response)),
            // It was closed at its other end meanwhile.
            Ok(Err(_)) => {}
            Err(_) => return Err(stalled()),
        }
    }
    let mut line = Line::open(hosts, at, may_be_private).await?;
    let sent = tokio::time::timeout(hosts.stall_timeout, line.send(request(hosts, at, range)));
    match sent.await {
        Ok(Ok(response)) => Ok((line, response)),
        Ok(Err(error)) => Err(broken(at, &error)),
        Err(_) => Err(stalled()),
    }
}

fn request(hosts: &Hosts, at: &Address, range: &Range<u64>) -> Request<String> {
    let builder = Request::get(at.target())
        .header(HOST, at.authority())
        .header(USER_AGENT, &hosts.agent)
        .header(ACCEPT_ENCODING, "identity");
    let last = range.end.saturating_sub(1).max(range.start);
    builder
        .header(RANGE, format!("bytes={}-{last}", range.start))
        .body(String::new())
        .expect("an address is a target, and a name a field")
}

fn redirect(response: &Response<Incoming>) -> Option<String> {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308).then(|| {
        field(response.headers(), &LOCATION)
            .unwrap_or_default()
            .to_owned()
    })
}

/// Says what an answer is, or what is wrong with it.
fn check(
    turn: &Turn,
    at: &Address,
    response: &Response<Incoming>,
    asked: &Range<u64>,
) -> Result<Head, OriginError> {
    let url = at.to_string();
    let (status, fields) = (response.status(), response.headers());
    let code = status.as_u16();
    if matches!(code, 429 | 503) {
        let retry_after = turn
            .host
            .refused(field(fields, &RETRY_AFTER).and_then(retry_after));
        return Err(OriginError::Busy {
            host: at.authority(),
            status: code,
            retry_after,
        });
    }
    turn.host.answered();
    match status {
        StatusCode::PARTIAL_CONTENT | StatusCode::OK | StatusCode::RANGE_NOT_SATISFIABLE => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(OriginError::NotFound { url, status: code }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            return Err(OriginError::Denied { url, status: code });
        }
        _ => return Err(OriginError::Status { url, status: code }),
    }
    head(status, fields, asked).map_err(|reason| OriginError::Malformed { url, reason })
}

fn head(status: StatusCode, fields: &HeaderMap, asked: &Range<u64>) -> Result<Head, String> {
    if let Some(encoding) = field(fields, &CONTENT_ENCODING)
        && !encoding.eq_ignore_ascii_case("identity")
    {
        return Err(format!(
            "it is sent encoded as {:?}, though it was asked for as it is",
            cut(encoding)
        ));
    }
    let validator = [&ETAG, &LAST_MODIFIED].into_iter().find_map(|name| {
        let value = field(fields, name)?;
        (value.len() <= MAX_VALIDATOR && !value.starts_with("W/")).then(|| value.to_owned())
    });
    let content_range = field(fields, &CONTENT_RANGE).unwrap_or_default();
    match status {
        StatusCode::OK => {
            let total = field(fields, &CONTENT_LENGTH).and_then(number);
            Ok(Head {
                total,
                range: 0..total.unwrap_or(u64::MAX),
                is_ranged: false,
                validator,
            })
        }
        StatusCode::RANGE_NOT_SATISFIABLE => match content_range.strip_prefix("bytes */").and_then(number) {
            Some(total) if total <= asked.start => Ok(Head {
                total: Some(total),
                range: asked.start..asked.start,
                is_ranged: true,
                validator,
            }),
            _ => Err("the server refuses a range that is inside the file".into()),
        },
        _ => {
            let (range, total) = parse_range(content_range)
                .ok_or_else(|| format!("{:?} is no Content-Range", cut(content_range)))?;
            let is_asked = range.start == asked.start && range.end <= asked.end;
            if !is_asked || total.is_some_and(|total| range.end > total) {
                return Err(format!(
                    "it answers with {:?}, which was not asked for",
                    cut(content_range)
                ));
            }
            Ok(Head {
                total,
                range,
                is_ranged: true,
                validator,
            })
        }
    }
}

/// Parses `bytes 0-9/10` or `bytes 0-9/*`.
fn parse_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let total = match total {
        "*" => None,
        total => Some(number(total)?),
    };
    (first <= last).then_some((first..last.checked_add(1)?, total))
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Some(seconds) = number(text) {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let seconds = date.timestamp().as_second() - jiff::Timestamp::now().as_second();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn field<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    fields.get(name)?.to_str().ok()
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Cuts a server's text for an error.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, fields: &[(&'static str, &str)], asked: Range<u64>) -> Result<Head, String> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.insert(*name, value.parse().unwrap());
        }
        head(StatusCode::from_u16(status).unwrap(), &map, &asked)
    }

    #[test]
    fn an_answer_has_to_be_what_was_asked_for() {
        let part = of(
            206,
            &[("content-range", "bytes 5-9/20"), ("etag", "\"x\"")],
            5..10,
        )
        .unwrap();
        assert_eq!((part.total, part.range, part.is_ranged), (Some(20), 5..10, true));
        assert_eq!(part.validator.as_deref(), Some("\"x\""));
        // The file ends before what was asked for does.
        assert_eq!(
            of(206, &[("content-range", "bytes 5-7/8")], 5..10).unwrap().range,
            5..8
        );
        for bad in [
            "",
            "bytes 4-9/20",
            "bytes 5-10/20",
            "bytes 5-4/20",
            "bytes 5-9/9",
            "bytes 5-18446744073709551615/*",
            "5-9/20",
            "bytes +5-9/20",
        ] {
            assert!(of(206, &[("content-range", bad)], 5..10).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_without_ranges_begins_at_the_beginning() {
        let whole = of(200, &[("content-length", "20")], 5..10).unwrap();
        assert_eq!(
            (whole.total, whole.range, whole.is_ranged),
            (Some(20), 0..20, false)
        );
    }

    #[test]
    fn what_is_encoded_is_refused() {
        assert!(of(200, &[("content-encoding", "gzip")], 0..1).is_err());
        assert!(of(200, &[("content-encoding", "identity")], 0..1).is_ok());
    }

    #[test]
    fn an_empty_file_has_no_range() {
        let empty = of(416, &[("content-range", "bytes */0")], 0..1).unwrap();
        assert_eq!((empty.total, empty.range), (Some(0), 0..0));
        assert!(of(416, &[("content-range", "bytes */9")], 0..1).is_err());
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }
}
