//! A web server on this host with files and a certificate of its own, well-behaved or not.
use std::{
    collections::HashMap,
    future::pending,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::proxy::certified;

/// Bytes written at once.
const CHUNK: usize = 64 * 1024;
/// Bytes of a request, at most.
const MAX_HEAD: usize = 16 * 1024;

/// How it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Honest,
    /// With the whole file whatever part is asked for.
    NoRanges,
    /// With one wrong byte in each MiB.
    Lies,
    /// With nothing more, once so many bytes of an answer have gone.
    Stalls(usize),
    /// Closing the connection, once so many bytes of an answer have gone.
    Breaks(usize),
    /// With this status and these fields, to so many requests; then as it should.
    Refuses(u16, &'static str, usize),
    /// With so many bytes a second on each connection.
    Slow(u64),
}

/// The server; it ends when this is dropped.
pub struct Web {
    shared: Arc<Shared>,
    authority: PathBuf,
    port: u16,
    _dir: tempfile::TempDir,
    _stop: oneshot::Sender<()>,
}

struct Shared {
    files: Mutex<HashMap<String, Bytes>>,
    manner: Mutex<Manner>,
    sent: AtomicU64,
    requests: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Web {
    /// Starts one without files, on a free port.
    ///
    /// # Errors
    /// What the system says.
    pub fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let (authority, tls) = certified(dir.path())?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            files: Mutex::default(),
            manner: Mutex::new(Manner::Honest),
            sent: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = shared.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new().name("web".into()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else {
                    return;
                };
                tokio::select! {
                    () = accept(listener, tls, serving) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self {
            shared,
            authority,
            port,
            _dir: dir,
            _stop: stop,
        })
    }

    /// Puts a file at a path, which begins with a slash.
    pub fn put(&self, path: &str, content: impl Into<Bytes>) {
        lock(&self.shared.files).insert(path.to_owned(), content.into());
    }

    /// Has it behave otherwise from the next request on.
    pub fn behave(&self, manner: Manner) {
        *lock(&self.shared.manner) = manner;
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// The file with its certificate, to be trusted.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Bytes of files that it has sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Requests that it has had.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Most requests that it was answering at one time.
    pub fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), shared.clone());
        tokio::spawn(async move {
            // A client that goes away in the middle is what some tests want.
            let _ = serve(stream, tls, &shared).await;
        });
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, shared: &Shared) -> anyhow::Result<()> {
    let mut stream = tls.accept(stream).await?;
    loop {
        let head = read_head(&mut stream).await?;
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let open = shared.open.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most.fetch_max(open, Ordering::Relaxed);
        let answered = answer(&mut stream, &head, shared).await;
        shared.open.fetch_sub(1, Ordering::Relaxed);
        answered?;
    }
}

async fn read_head(stream: &mut TlsStream<TcpStream>) -> anyhow::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        anyhow::ensure!(head.len() < MAX_HEAD, "a request without an end");
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head)?)
}

async fn answer(stream: &mut TlsStream<TcpStream>, head: &str, shared: &Shared) -> anyhow::Result<()> {
    let path = head.split(' ').nth(1).context("a path")?;
    let path = path.split('?').next().unwrap_or_default();
    let manner = {
        let mut manner = lock(&shared.manner);
        let now = manner.clone();
        if let Manner::Refuses(_, _, times) = &mut *manner {
            *times = times.saturating_sub(1);
            if *times == 0 {
                *manner = Manner::Honest;
            }
        }
        now
    };
    let plain =
        |status: u16, fields: &str| format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{fields}\r\n");
    if let Manner::Refuses(status, fields, _) = manner {
        return Ok(stream.write_all(plain(status, fields).as_bytes()).await?);
    }
    let content = lock(&shared.files).get(path).cloned();
    let Some(content) = content else {
        return Ok(stream.write_all(plain(404, "").as_bytes()).await?);
    };
    let total = content.len();
    let range = asked(head, total).filter(|_| manner != Manner::NoRanges);
    let (start, part) = match range {
        Some(range) if range.is_empty() => {
            let fields = format!("Content-Range: bytes */{total}\r\n");
            return Ok(stream.write_all(plain(416, &fields).as_bytes()).await?);
        }
        Some(range) => {
            let (start, end) = (range.start, range.end);
            let head = format!(
                "HTTP/1.1 206 Partial\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{total}\r\nETag: \"1\"\r\n\r\n",
                end - start,
                end - 1,
            );
            stream.write_all(head.as_bytes()).await?;
            (start, content.slice(start..end))
        }
        None => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\nETag: \"1\"\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            (0, content)
        }
    };
    send(stream, start, part, &manner, shared).await
}

async fn send(
    stream: &mut TlsStream<TcpStream>,
    start: usize,
    part: Bytes,
    manner: &Manner,
    shared: &Shared,
) -> anyhow::Result<()> {
    let mut sent = 0;
    for chunk in part.chunks(CHUNK) {
        let at = start + sent;
        match manner {
            Manner::Stalls(after) if sent >= *after => pending().await,
            Manner::Breaks(after) if sent >= *after => anyhow::bail!("it breaks off"),
            Manner::Lies if at.is_multiple_of(1 << 20) => {
                let mut wrong = chunk.to_vec();
                wrong[0] ^= 1;
                stream.write_all(&wrong).await?;
            }
            Manner::Slow(rate) => {
                tokio::time::sleep(Duration::from_secs_f64(chunk.len() as f64 / *rate as f64)).await;
                stream.write_all(chunk).await?;
            }
            _ => stream.write_all(chunk).await?,
        }
        sent += chunk.len();
        shared.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    }
    Ok(stream.flush().await?)
}

/// The part that is asked for, cut to what there is.
fn asked(head: &str, total: usize) -> Option<Range<usize>> {
    let line = head
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("range: bytes="))?;
    let (first, last) = line.split_once('=')?.1.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    Some(first.min(total)..last.saturating_add(1).min(total))
}
