//! The log: for people on a terminal, for journald, or as JSON. It never stops the daemon.
use std::{
    io::{self, IsTerminal},
    os::unix::fs::MetadataExt,
};

use cardume_node::config::{Log, LogFormat};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    field::MakeExt,
    filter::{FilterExt, filter_fn},
    fmt::{FormatFields, format},
    layer::{Filter, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

use super::tail::Tail;
use crate::{config::Environment, out::Out, text::clean};

/// Lines that wait for a slow reader of the log; more are dropped, never waited for.
const MAX_WAITING: usize = 16 * 1024;

/// Keeps the log going; what still waits is written when it is dropped.
pub(super) struct Running {
    filter: reload::Handle<EnvFilter, Registry>,
    verbosity: i16,
    _guard: Option<WorkerGuard>,
}

impl Running {
    /// Logs at another configured level from now on; `-v` still adds to it.
    pub(super) fn set_level(&self, level: &str) {
        // It fails only when the log is gone.
        let _ = self.filter.reload(filter(&raised(level, self.verbosity)));
    }
}

/// Sets up the log of a daemon, whose last lines `tail` keeps too, and what sends `traces`.
pub(super) fn start(
    config: &Log,
    verbosity: i16,
    environment: &Environment,
    tail: Tail,
    traces: Option<Boxed>,
) -> Running {
    let (filter, handle) = reload::Layer::new(filter(&raised(&config.level, verbosity)));
    let (layer, guard) = layer(decide(config.format, environment));
    let log = layer.and_then(tail).with_filter(filter.and(is_for_log()));
    let layers: Vec<Boxed> = traces.into_iter().chain([log.boxed()]).collect();
    // The only one that sets up a log; were there another, its log would do.
    let _ = Registry::default().with(layers).try_init();
    Running {
        filter: handle,
        verbosity,
        _guard: guard,
    }
}

/// The configured level with what `-v` adds.
fn raised(level: &str, verbosity: i16) -> String {
    match verbosity {
        ..=0 => level.to_owned(),
        1 => format!("{level},cardume=debug"),
        _ => "debug".into(),
    }
}

/// Sets up the log of a node inside a command: silent unless asked for.
pub(crate) fn for_command(out: &Out) {
    let level = match out.verbosity() {
        ..=0 => return,
        1 => "warn",
        2 => "info",
        _ => "debug",
    };
    let layer = tracing_subscriber::fmt::layer()
        .fmt_fields(fields())
        .with_writer(io::stderr)
        .log_internal_errors(false);
    let _ = Registry::default()
        .with(layer.with_filter(filter(level).and(is_for_log())))
        .try_init();
}

/// All but the node's own spans: they are what traces are made of, and lines stay as they are without them.
fn is_for_log<S>() -> impl Filter<S> + Send + Sync + 'static {
    // Without the hint, what the log leaves out by its level would be looked at one by one.
    filter_fn(|of| !(of.is_span() && of.target().starts_with("cardume")))
        .with_max_level_hint(tracing::Level::TRACE)
}

/// What is logged: `level`, but of `info` only the node's own.
///
/// libp2p tells at that level of every peer found and every request refused, and strangers decide how often.
/// Directives that name a part of it more closely still count.
fn filter(level: &str) -> EnvFilter {
    let mut level = level.to_owned();
    if level.split(',').any(|directive| directive.trim() == "info") {
        // Of topics, it warns of each forged message.
        level.insert_str(0, "libp2p=warn,libp2p_gossipsub=error,");
    }
    EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Resolves `auto`, and `journald` where there is none.
fn decide(format: LogFormat, environment: &Environment) -> LogFormat {
    match format {
        LogFormat::Auto if io::stderr().is_terminal() => LogFormat::Pretty,
        LogFormat::Auto if is_journal(environment.get("JOURNAL_STREAM")) => LogFormat::Journald,
        LogFormat::Auto => LogFormat::Json,
        format => format,
    }
}

/// Whether stderr is the stream that systemd says leads to the journal.
fn is_journal(stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else {
        return false;
    };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    device.parse() == Ok(stderr.dev()) && inode.parse() == Ok(stderr.ino())
}

/// What is set up to hear of spans and events.
pub(super) type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

fn layer(format: LogFormat) -> (Boxed, Option<WorkerGuard>) {
    if format == LogFormat::Journald
        && let Ok(journal) = tracing_journald::layer()
    {
        return (journal.with_syslog_identifier("cardume".into()).boxed(), None);
    }
    let (writer, guard) = writer();
    // An error of the log itself would be told by `eprintln!`, which panics when stderr is closed.
    let fmt = tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .with_writer(writer);
    let layer = match format {
        LogFormat::Pretty => {
            let color = io::stderr().is_terminal()
                && anstream::stderr().current_choice() != anstream::ColorChoice::Never;
            fmt.with_ansi(color).fmt_fields(fields()).boxed()
        }
        _ => fmt
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    };
    (layer, Some(guard))
}

/// Writes fields for a terminal, which must not obey what a peer has put into one.
///
/// The formatter's own fields let control characters through when they are given with `%`.
fn fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    format::debug_fn(|writer, field, value| {
        let text = clean(&format!("{value:?}"));
        match field.name() {
            "message" => write!(writer, "{text}"),
            name => write!(writer, "{name}={text}"),
        }
    })
    .delimited(" ")
}

/// A thread of its own writes, so that a full pipe never holds up the node.
fn writer() -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_WAITING)
        .thread_name("log")
        .finish(io::stderr())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{Subscriber as _, level_filters::LevelFilter};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .fmt_fields(fields())
            .with_writer(move || writer.clone());
        let subscriber = Registry::default().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let evil = "a\u{1b}[2Jb\u{7}";
            tracing::info!(agent = %evil, name = ?evil, text = evil, "message {evil}");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
    }

    /// Whether a line of libp2p's mDNS, at info, is logged.
    fn tells_of_discoveries(level: &str) -> bool {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = Registry::default().with(layer.with_filter(filter(level)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "cardume_node", "ours");
            tracing::info!(target: "libp2p_mdns::behaviour", "discovered");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.contains("ours"), level.contains("info"), "{level}: {text}");
        text.contains("discovered")
    }

    #[test]
    fn what_libp2p_tells_is_logged_when_it_warns_or_is_asked_for() {
        assert!(!tells_of_discoveries("info"));
        assert!(!tells_of_discoveries("info,cardume_exchange=debug"));
        assert!(!tells_of_discoveries("error"));
        assert!(tells_of_discoveries("info,libp2p_mdns=info"));
        assert!(tells_of_discoveries("libp2p=info,info"));
    }

    #[test]
    fn lines_are_the_same_within_spans_of_ours() {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer()
            .without_time()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let layer = layer.with_filter(filter("debug").and(is_for_log()));
        let subscriber = Registry::default().with(layer);
        assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::DEBUG));
        tracing::subscriber::with_default(subscriber, || {
            let _theirs = tracing::info_span!(target: "libp2p_swarm", "theirs").entered();
            let _ours = tracing::info_span!(target: "cardume_exchange", "ours", cid = 1).entered();
            tracing::info!(target: "cardume_node", "a line");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, " INFO theirs: cardume_node: a line\n");
    }

    #[test]
    fn a_stream_that_is_not_stderr_is_no_journal() {
        for stream in [None, Some(""), Some("1"), Some("1:x"), Some("0:0")] {
            assert!(!is_journal(stream));
        }
    }
}
