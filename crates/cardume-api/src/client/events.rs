//! What happens in the node, as it happens.
use std::{pin::Pin, time::Duration};

use eventsource_stream::Eventsource;
use futures::{Stream, StreamExt, stream::BoxStream};
use reqwest::{Method, header};
use serde::de::DeserializeOwned;

use super::{ANSWER_TIMEOUT, Client, ClientError, parse};
use crate::{Code, Event, Operation};

/// Pauses before a lost stream is taken up again. After the last the daemon is held to be gone.
const PAUSES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// Time without a byte after which the stream is held to be lost: the daemon shows every fifteen seconds that it is
/// there.
const SILENCE: Duration = Duration::from_secs(50);

/// An event, and where on the stream it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Received<E = Event> {
    /// Where to go on after it; see [`Client::events`]. Empty where nothing is known to go on from.
    pub id: String,
    /// What has happened.
    pub event: E,
}

/// The stream of events; what could not be kept is told as [`Event::Lost`].
pub type Events = Feed<Event>;

/// Events of some kind as they come.
///
/// A connection that is lost is made anew, and the stream goes on where it was; what could not be kept is told by an
/// event of its own. An error is the last item.
pub struct Feed<E> {
    client: Client,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    /// What tells that events are lost, nobody knows how many.
    lose: fn() -> E,
    last: Option<String>,
    source: Option<Source>,
    attempts: usize,
    /// Made anew before any event had come: there is no place to go on from.
    lost: bool,
    ended: bool,
}

type Source = Pin<Box<dyn Stream<Item = Result<eventsource_stream::Event, String>> + Send>>;

impl<E> std::fmt::Debug for Feed<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("path", &self.path)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// What happens from now on, or from after the event with the id `after`.
    ///
    /// Nothing that happens after this has returned is missed.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn events(&self, after: Option<String>) -> Result<Events, ClientError> {
        let lose = || Event::Lost { count: None };
        Feed::open(self, &["v1", "events"], Vec::new(), after, lose).await
    }

    /// Waits until an operation has ended, telling of each change.
    ///
    /// # Errors
    /// When the daemon cannot be asked any more. An operation that failed is no error here: see its state.
    ///
    /// # Cancel safety
    /// The operation runs on; [`cancel`](Self::cancel) ends it.
    pub async fn wait(
        &self,
        operation: &Operation,
        mut on_progress: impl FnMut(&Operation) + Send,
    ) -> Result<Operation, ClientError> {
        let mut events = self.events(None).await?;
        // It may have moved on before the stream began.
        let mut now = self.operation(&operation.id).await?;
        loop {
            on_progress(&now);
            if now.state.has_ended() {
                return Ok(now);
            }
            now = loop {
                match events.next().await {
                    Some(Ok(Received {
                        event: Event::Operation(changed),
                        ..
                    })) if changed.id == now.id => {
                        break *changed;
                    }
                    Some(Ok(Received {
                        event: Event::Lost { .. },
                        ..
                    })) => break self.still(&now.id).await?,
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    None => return Err(ClientError::Lost("the events have ended".to_owned())),
                }
            };
        }
    }
}

impl Client {
    /// An operation that was there before events were lost.
    async fn still(&self, id: &str) -> Result<Operation, ClientError> {
        match self.operation(id).await {
            Err(ClientError::Problem(problem)) if problem.code == Code::NotFound => Err(ClientError::Lost(
                "the daemon was started anew and does not know this operation; ask for it again".to_owned(),
            )),
            found => found,
        }
    }
}

impl<E: DeserializeOwned + Send + 'static> Feed<E> {
    /// Begins to read what is at `path`, after the event with the id `last`.
    pub(super) async fn open(
        client: &Client,
        path: &[&str],
        query: Vec<(&'static str, String)>,
        last: Option<String>,
        lose: fn() -> E,
    ) -> Result<Self, ClientError> {
        let mut feed = Self {
            client: client.clone(),
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            query,
            lose,
            last,
            source: None,
            attempts: 0,
            lost: false,
            ended: false,
        };
        feed.connect().await?;
        // What came before has been asked for; taken up again, the stream goes on after it.
        feed.query.clear();
        Ok(feed)
    }

    /// The next event; an error is the last.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Received<E>, ClientError>> {
        while !self.ended {
            if std::mem::take(&mut self.lost) {
                return Some(Ok(Received {
                    id: String::new(),
                    event: (self.lose)(),
                }));
            }
            let Some(source) = &mut self.source else {
                if let Err(error) = self.reconnect().await {
                    self.ended = true;
                    return Some(Err(error));
                }
                continue;
            };
            match source.next().await {
                Some(Ok(message)) => {
                    self.attempts = 0;
                    if !message.id.is_empty() {
                        self.last = Some(message.id.clone());
                    }
                    return Some(parse(message.data.as_bytes()).map(|event| Received {
                        id: message.id,
                        event,
                    }));
                }
                Some(Err(_)) | None => self.source = None,
            }
        }
        None
    }

    /// The events as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Received<E>, ClientError>> + Send {
        futures::stream::unfold(self, async |mut events| {
            events.next().await.map(|item| (item, events))
        })
    }

    /// Takes the stream up again. A daemon that is gone, or goes again and again, is an error.
    async fn reconnect(&mut self) -> Result<(), ClientError> {
        loop {
            let Some(&pause) = PAUSES.get(self.attempts) else {
                return Err(ClientError::Lost(
                    "the daemon ends the stream again and again".to_owned(),
                ));
            };
            self.attempts += 1;
            tokio::time::sleep(pause).await;
            match self.connect().await {
                Err(ClientError::Lost(_) | ClientError::NoDaemon { .. }) if self.attempts < PAUSES.len() => {}
                done => {
                    self.lost = self.last.is_none();
                    return done;
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let mut request = self
            .client
            .request(Method::GET, &path)
            .query(&self.query)
            .header(header::ACCEPT, "text/event-stream");
        if let Some(last) = &self.last {
            request = request.header("last-event-id", last);
        }
        // Not a deadline of the request: that would end the stream too.
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, self.client.send(request)).await;
        let response = answered.map_err(|_| self.client.silent())??;
        let messages = audible(response.bytes_stream().boxed()).eventsource();
        self.source = Some(
            messages
                .map(|item| item.map_err(|error| error.to_string()))
                .boxed(),
        );
        Ok(())
    }
}

/// The same bytes; a silence that is too long is an error, and the last item.
fn audible<T: Send + 'static>(
    bytes: BoxStream<'static, Result<T, reqwest::Error>>,
) -> impl Stream<Item = Result<T, String>> + Send {
    futures::stream::unfold(Some(bytes), async |bytes| {
        let mut bytes = bytes?;
        match tokio::time::timeout(SILENCE, bytes.next()).await {
            Ok(Some(item)) => Some((item.map_err(|error| error.to_string()), Some(bytes))),
            Ok(None) => None,
            Err(_) => Some((Err("the daemon went silent".to_owned()), None)),
        }
    })
}
