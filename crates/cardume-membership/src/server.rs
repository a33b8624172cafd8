//! What goes on beside the swarm: files read again, lists passed on, members cut off in time.
use std::{
    collections::HashSet,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{AsyncWriteExt as _, StreamExt as _, stream::FuturesUnordered};
use libp2p_identity::PeerId;
use libp2p_stream::{Control, IncomingStreams};
use libp2p_swarm::{Stream, StreamProtocol};
use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, timeout},
};

use crate::{
    Certificate, RevocationList,
    files::{self, Stamp},
    members::Members,
    message::{MAX_FIRST, MAX_LATER, Message},
};

/// Time between two looks at the files and at who has expired.
const LOOK: Duration = Duration::from_secs(5);
/// Time between two warnings of it.
const WARN_EVERY: Duration = Duration::from_secs(86_400);
/// Members that are told of a new list at the same time.
const AT_ONCE: usize = 16;
/// Time for one of them to take it.
const TELLING: Duration = Duration::from_secs(20);
/// Time after which those are told again who could not be told.
const AGAIN: Duration = Duration::from_secs(30);

/// Where a node of a closed network has its papers.
#[derive(Debug, Clone)]
pub struct Files {
    /// Its certificate.
    pub certificate: PathBuf,
    /// Revocations that the operator has put there.
    pub revocations: Option<PathBuf>,
    /// Revocations that are known, from wherever, kept over a restart.
    pub known: PathBuf,
}

/// Keeps what a node of a closed network knows up to date.
pub struct Server {
    members: Arc<Members>,
    files: Files,
    control: Control,
    incoming: IncomingStreams,
    certificate: Stamp,
    revocations: Stamp,
    warned: Option<Instant>,
}

impl Server {
    pub(crate) fn new(members: Arc<Members>, files: Files, mut control: Control) -> Self {
        let protocol = protocol(&members);
        let incoming = control.accept(protocol).expect("nobody else takes this protocol");
        Self {
            // Read once more at the first look: it may have been replaced since.
            certificate: Stamp::NONE,
            revocations: Stamp::NONE,
            members,
            files,
            control,
            incoming,
            warned: None,
        }
    }

    /// Runs until `stop` ends.
    ///
    /// Looks at the files every five seconds; within that time who is no member any more is cut off.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing but what was being told to others.
    pub async fn run(mut self, stop: impl Future) {
        tokio::select! {
            () = self.keep() => {}
            _ = stop => {}
        }
    }

    async fn keep(&mut self) {
        let members = self.members.clone();
        let mut clock = tokio::time::interval(LOOK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = FuturesUnordered::new();
        let mut telling = FuturesUnordered::new();
        let mut again: Option<(Instant, HashSet<PeerId>)> = None;
        loop {
            tokio::select! {
                _ = clock.tick() => {
                    self.look().await;
                    members.sweep();
                    if again.as_ref().is_some_and(|(at, _)| Instant::now() >= *at)
                        && let Some((_, left)) = again.take()
                    {
                        let present = members.present().into_iter().filter(|peer| left.contains(peer));
                        telling.push(tell(members.clone(), self.control.clone(), present.collect()));
                    }
                }
                () = members.news.notified() => {
                    members.sweep();
                    self.write().await;
                    // One round at a time: what comes meanwhile goes out with the next one.
                    telling.push(tell(members.clone(), self.control.clone(), members.present()));
                }
                Some(left) = telling.next() => {
                    let left: HashSet<PeerId> = left;
                    if !left.is_empty() && again.is_none() {
                        again = Some((Instant::now() + AGAIN, left));
                    }
                }
                Some((peer, stream)) = self.incoming.next() => {
                    if asked.len() < AT_ONCE {
                        asked.push(answer(members.clone(), peer, stream));
                    }
                }
                Some(()) = asked.next() => {}
            }
        }
    }

    /// Reads what has changed on the disk.
    async fn look(&mut self) {
        let files = self.files.clone();
        let (seen, listed) = (self.certificate.clone(), self.revocations.clone());
        let looking = spawn_blocking(move || look(&files, &seen, &listed));
        let Ok(found) = looking.await else { return };
        if let Some((stamp, read)) = found.certificate {
            self.certificate = stamp;
            match read {
                Ok(certificate) => self.renew(certificate),
                Err(error) => tracing::warn!(%error, "the node goes on with the certificate that it has"),
            }
        }
        if let Some((stamp, read)) = found.revocations {
            self.revocations = stamp;
            match read {
                Ok(lists) => adopt(&self.members, lists),
                Err(error) => tracing::warn!(%error, "these revocations do not count"),
            }
        }
        self.warn();
    }

    fn renew(&mut self, certificate: Certificate) {
        let serial = certificate.terms().serial;
        if *self.members.own() == certificate {
            return;
        }
        if let Err(flaw) = self.members.flaw_of_own(&certificate) {
            let file = self.files.certificate.display();
            tracing::warn!(%file, %serial, "the new certificate {flaw}; the node goes on with the one that it has");
            return;
        }
        tracing::info!(%serial, "a new certificate counts");
        self.members.renew(certificate);
        self.warned = None;
    }

    /// Says once a day that the certificate ends soon, or is worth nothing.
    fn warn(&mut self) {
        let own = self.members.own();
        let flaw = self.members.flaw_of_own(&own).err();
        let now = SystemTime::now();
        if (flaw.is_none() && !own.ends_soon(now))
            || self.warned.is_some_and(|said| said.elapsed() < WARN_EVERY)
        {
            return;
        }
        self.warned = Some(Instant::now());
        let file = self.files.certificate.display();
        match flaw {
            Some(flaw) => tracing::error!(
                %file,
                "the certificate of this node {flaw}: no member lets it in; have a new one signed, and put it there"
            ),
            None => tracing::warn!(
                %file, hours = own.until().duration_since(now).unwrap_or_default().as_secs() / 3_600,
                "the certificate of this node expires soon; have a new one signed, and put it there"
            ),
        }
    }

    async fn write(&self) {
        let (path, lists) = (self.files.known.clone(), self.members.lists());
        let shown = path.display().to_string();
        let writing = spawn_blocking(move || files::keep(&path, lists.iter().map(AsRef::as_ref)));
        if let Ok(Err(error)) = writing.await {
            tracing::warn!(file = shown, %error, "revocations cannot be written down; after a restart they come from others");
        }
    }
}

/// Takes in lists, from a file.
pub(crate) fn adopt(members: &Members, lists: Vec<RevocationList>) {
    for list in lists {
        let (authority, number, entries) = (list.authority().clone(), list.number(), list.len());
        match members.adopt(list) {
            Ok(true) => tracing::info!(%authority, number, entries, "revocations are known"),
            Ok(false) => {}
            Err(flaw) => tracing::warn!(%authority, number, "a list of revocations {flaw}"),
        }
    }
}

/// What has changed, with its new stamp.
struct Found {
    certificate: Option<(Stamp, Result<Certificate, files::FileError>)>,
    revocations: Option<(Stamp, Result<Vec<RevocationList>, files::FileError>)>,
}

fn look(files: &Files, certificate: &Stamp, revocations: &Stamp) -> Found {
    let now = Stamp::of(&files.certificate);
    let listed = files.revocations.as_deref();
    let listed = listed.map(|path| (path, Stamp::of(path)));
    Found {
        certificate: (now != *certificate).then(|| (now, files::certificate(&files.certificate))),
        revocations: listed
            .filter(|(_, now)| now != revocations)
            .map(|(path, now)| (now, files::revocations(path))),
    }
}

fn protocol(members: &Members) -> StreamProtocol {
    let name = crate::handshake::protocol(members.network());
    StreamProtocol::try_from_owned(name).expect("the name begins with a slash")
}

/// Brings the lists of `peers` up to date, and ours; who could not be told.
async fn tell(members: Arc<Members>, control: Control, peers: Vec<PeerId>) -> HashSet<PeerId> {
    let told = futures::stream::iter(peers).map(|peer| {
        let (members, control) = (members.clone(), control.clone());
        async move {
            let telling = timeout(TELLING, compare(&members, control, peer)).await;
            let failed = telling.map_err(io::Error::from).and_then(|told| told).err()?;
            tracing::debug!(%peer, error = %failed, "a member could not be told of revocations");
            Some(peer)
        }
    });
    told.buffer_unordered(AT_ONCE)
        .filter_map(futures::future::ready)
        .collect()
        .await
}

/// Says which lists there are here, takes those that are newer there, and gives those that are newer here.
async fn compare(members: &Members, mut control: Control, peer: PeerId) -> io::Result<()> {
    let opened = control.open_stream(peer, protocol(members)).await;
    let mut io = opened.map_err(|error| io::Error::other(error.to_string()))?;
    members.numbers().send(&mut io).await?;
    let answer = Message::receive(&mut io, MAX_LATER).await?;
    members.adopt_all(&answer.lists).map_err(wrong)?;
    let last = Message {
        lists: members.newer(&answer.numbers),
        ..Message::default()
    };
    last.send(&mut io).await?;
    io.close().await
}

async fn answer(members: Arc<Members>, peer: PeerId, stream: Stream) {
    let answering = timeout(TELLING, take(&members, stream)).await;
    if let Err(error) = answering.map_err(io::Error::from).and_then(|taken| taken) {
        tracing::debug!(%peer, %error, "a member that told of revocations did not end");
    }
}

async fn take(members: &Members, mut io: Stream) -> io::Result<()> {
    let asked = Message::receive(&mut io, MAX_FIRST).await?;
    let answer = Message {
        lists: members.newer(&asked.numbers),
        ..members.numbers()
    };
    answer.send(&mut io).await?;
    let last = Message::receive(&mut io, MAX_LATER).await?;
    members.adopt_all(&last.lists).map_err(wrong)?;
    io.close().await
}

fn wrong(flaw: crate::Flaw) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a list of revocations {flaw}"),
    )
}
