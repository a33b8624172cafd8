//! From the configuration to a running node, and to its end.
use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    os::unix::{fs::symlink, net::UnixListener},
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::Context;
use cardume_node::{Config, Log, Node, StartError, Surroundings};
use figment::value::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{
    Options, greeting, log, manager::Manager, panics, places, process, reload::Reloads, tail::Tail,
    traces::Traces, watchdog,
};
use crate::{
    config::{Environment, Place},
    doctor,
    failure::{self, Ended, status},
    inherited,
    reach::Reach,
};

/// Runs a daemon until a signal, the API or a defect ends it.
///
/// # Errors
/// With the exit status that the contract has for it.
pub(crate) fn run(reach: Reach<'_>, _options: &Options) -> anyhow::Result<()> {
    let chain = reach.chain()?;
    let lines = Log::default();
    let (traces, traced) = Traces::new(&chain.config.trace);
    let log = log::start(
        &chain.config.log,
        reach.out.verbosity(),
        reach.environment,
        Tail(lines.clone()),
        traced,
    );
    let panicked = panics::watch();
    process::prepare();
    for file in &chain.files {
        tracing::info!(?file, "configuration read");
    }
    // Keeps the log too, until all else has ended.
    let reloads = Reloads::new(reach, log, chain.config.clone());
    let mut config = chain.config;
    let data_dir = places::data_dir(&config, reach.environment);
    let key_file = places::key_file(&config, reach.environment)
        .map_err(|ended| located(ended, "identity.key_file", &chain.values))?;
    config.identity.key_file = key_file.map(|path| path.to_string_lossy().into_owned());
    let certificate = places::certificate_file(&config, reach.environment)
        .map_err(|ended| located(ended, "network.certificate_file", &chain.values))?;
    config.network.certificate_file = certificate.map(|path| path.to_string_lossy().into_owned());
    let inherited = inherited(&config, reach.environment)
        .map_err(|ended| located(ended, "control.listen", &chain.values))?;
    let socket = match &inherited {
        Some((path, _)) => path.clone(),
        None => places::socket(&config, reach.environment, &data_dir),
    };
    let listen = config.control.listen.take().unwrap_or_default();
    config.control.listen = Some(listen.at_socket(&socket));
    config.node.data_dir = Some(data_dir);
    let surroundings = Surroundings {
        control: inherited.map(|(_, socket)| socket),
        log: lines,
        doctor: doctor::of_daemon(reach, &socket),
    };

    let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let started = AtomicUsize::new(0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("cardume")
        .worker_threads(workers)
        .on_thread_start(move || {
            // The workers start first, the threads that wait for the disk when there is something to wait for.
            if started.fetch_add(1, Ordering::Relaxed) < workers {
                cardume_transport::warm_up();
            }
        })
        .build()
        .context("cannot start threads")?;
    let ended = runtime.block_on(live(reach, config, surroundings, &panicked, &reloads, &traces));
    let ended = ended.map_err(|error| placed(error, &chain.values));
    // Blocking work that outlives the grace period must not keep the process.
    runtime.shutdown_background();
    traces.end();
    match ended {
        _ if panicked.is_cancelled() => {
            Err(Ended::new(status::DEFECT, "a part of the node panicked; see the log").into())
        }
        ended => ended,
    }
}

/// An error about a key that somebody has set, with the place where.
fn placed(error: anyhow::Error, values: &BTreeMap<Vec<String>, (Value, Place)>) -> anyhow::Error {
    let Some(key) = error.downcast_ref().and_then(StartError::key) else {
        return error;
    };
    let ended = Ended::new(failure::exit_status(&error), error.to_string());
    located(ended, key, values).into()
}

/// Puts the place of `key`, if somebody has set it, before what is said of it.
fn located(ended: Ended, key: &str, values: &BTreeMap<Vec<String>, (Value, Place)>) -> Ended {
    let path: Vec<String> = key.split('.').map(str::to_owned).collect();
    match values.get(&path) {
        None | Some((_, Place::Default)) => ended,
        Some((_, place)) => Ended::new(ended.status, format!("{place}: {}", ended.message)),
    }
}

/// The name of the control socket in `cardume.socket`.
const CONTROL: &str = "control";

/// The control socket that the service manager has made, and where it is.
///
/// # Errors
/// When `control.listen` names one, and there is none.
fn inherited(config: &Config, environment: &Environment) -> Result<Option<(PathBuf, UnixListener)>, Ended> {
    let named = config.control.inherited();
    if config.control.socket().is_some() {
        return Ok(None);
    }
    let name = named.unwrap_or(CONTROL);
    let socket = inherited::socket(environment, name).and_then(|socket| {
        let path = socket.local_addr().ok()?.as_pathname()?.to_owned();
        Some((path, socket))
    });
    if socket.is_none() && named.is_some() {
        let message = format!(
            "control.listen: the service manager hands over no unix socket called {name:?}; set \
             FileDescriptorName={name} in cardume.socket, and start that unit first"
        );
        return Err(Ended::new(status::BAD_CONFIG, message));
    }
    Ok(socket)
}

async fn live(
    reach: Reach<'_>,
    config: Config,
    surroundings: Surroundings,
    panicked: &CancellationToken,
    reloads: &Reloads,
    traces: &Traces,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    // From now on: one that comes while the node starts waits until it has, instead of ending the process.
    let mut hang_up = signal(SignalKind::hangup()).context("cannot catch signals")?;
    let manager = Manager::of(reach.environment);
    let grace = config.shutdown.grace.get();
    let node = tokio::select! {
        node = Node::start_in(config, surroundings) => node?,
        never = manager.starting() => match never {},
        status = signals.stop() => return Err(Ended::new(status, "interrupted while starting").into()),
    };
    traces.begin(node.peer_id());
    let _pointer = Pointer::new(&node);
    tokio::select! {
        () = greeting::say(&node, reach.out) => {}
        () = node.finished() => {}
    }
    manager.ready();
    crate::memory::forget_start();

    tokio::select! {
        _ = signals.stop() => tracing::info!("stopping: a signal says so"),
        () = node.finished() => tracing::info!("stopping: the node says so"),
        () = panicked.cancelled() => {}
        () = watchdog::feed(&node, &manager) => {}
        never = reloads.serve(&node, &manager, &mut hang_up) => match never {},
    }
    manager.stopping(grace);
    tokio::select! {
        ended = node.shutdown() => Ok(ended?),
        status = signals.stop() => {
            Err(Ended::new(status, "stopped at once, by a second signal").into())
        }
    }
}

/// Signals that tell a daemon something.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal to stop, and tells the exit status for it.
    async fn stop(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => status::INTERRUPTED,
            _ = self.terminate.recv() => status::TERMINATED,
        }
    }
}

/// `cardume.sock` in the data directory, wherever the socket is: `--data-dir` finds the daemon by it.
struct Pointer(Option<PathBuf>);

impl Pointer {
    fn new(node: &Node) -> Self {
        let path = places::in_data_dir(node.data_dir());
        if path == node.socket() {
            return Self(None);
        }
        // The data directory is locked: what is there was left by a daemon that is gone.
        std::fs::remove_file(&path).ok();
        match symlink(node.socket(), &path) {
            Ok(()) => Self(Some(path)),
            Err(error) => {
                tracing::warn!(%error, ?path, "cannot point to the control socket");
                Self(None)
            }
        }
    }
}

impl Drop for Pointer {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            std::fs::remove_file(path).ok();
        }
    }
}
