//! The collector: one request at a time, and one line in the log when it goes away.
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cardume_topic::Url;
use http_body_util::Full;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::ClientConfig;
use tokio::runtime::Builder;

/// Time for one request: that of OpenTelemetry's specification is ten seconds, in which as much again would wait.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Where traces are posted to.
pub(super) struct Collector {
    url: Url,
    tls: Option<Arc<ClientConfig>>,
    is_away: AtomicBool,
}

impl Collector {
    pub(super) fn new(endpoint: &str) -> anyhow::Result<Self> {
        let url = Url::parse(endpoint).map_err(|reason| anyhow::anyhow!("{endpoint:?} {reason}"))?;
        let tls = url.is_secure().then(|| cardume_origin::tls_client(None));
        Ok(Self {
            url,
            tls: tls.transpose()?,
            is_away: AtomicBool::new(false),
        })
    }

    async fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let (head, body) = request.into_parts();
        let mut post = self.url.post().header("connection", "close");
        for (name, value) in &head.headers {
            post = post.header(name, value);
        }
        let post = post.body(Full::new(body)).map_err(|error| error.to_string())?;
        let sending = tokio::time::timeout(TIMEOUT, self.url.send(self.tls.as_ref(), post));
        let answer = sending
            .await
            .map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))??;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        // What it says besides is of no use here.
        Ok(Response::new(Bytes::new()))
    }

    /// Tells when the collector goes away and when it comes back, not how often it was tried in between.
    fn tell(&self, problem: Option<&str>) {
        let was_away = self.is_away.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(error) if !was_away => {
                tracing::warn!(
                    error,
                    "the collector takes no traces; they are dropped until it does"
                );
            }
            None if was_away => tracing::info!("the collector takes traces again"),
            _ => {}
        }
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Collector {
    /// Blocks, as it may: the thread that sends batches calls it, and does nothing else.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Of its own: the last batch goes when the node's has ended.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(self.post(request));
        // A name that is being looked up is not waited for.
        runtime.shutdown_background();
        self.tell(answer.as_ref().err().map(String::as_str));
        answer.map_err(HttpError::from)
    }
}
