//! A command run for each message.
use std::{process::Stdio, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use super::Tally;
use crate::{Exec, Item, Reader, Received};

/// Where programs are looked for that the command calls; the node's own environment is not handed on.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes of what one run of a command says that go into the log; what is more is read and thrown away.
const MAX_OUTPUT: usize = 8 * 1024;
/// Time after the end of a command for what it has started to close its output.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs the command for each message, at most `concurrency` at once.
pub(super) async fn run(exec: Exec, mut reader: Reader, tally: &Tally) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(ended) = running.next() => match ended {
                Ok(()) => tally.deliver(1),
                Err(problem) => tally.fail(problem),
            },
            item = reader.next(), if running.len() < exec.concurrency => match item {
                Some((Item::Message(message), _)) => running.push(once(&exec, message)),
                Some((Item::Lost(count), _)) => tally.lose(count.unwrap_or(1)),
                None => return,
            },
        }
    }
}

async fn once(exec: &Exec, message: Received) -> Result<(), String> {
    let [program, arguments @ ..] = &exec.command[..] else {
        return Err("no command".into());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("TOPIC_NAME", &*message.topic)
        .env("TOPIC_FROM", message.from.to_string())
        .env("TOPIC_ID", message.id.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that what it starts can be ended with it.
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    let _group = Group::of(&child);
    let ended = tokio::time::timeout(exec.timeout.get(), attend(&mut child, &message)).await;
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{program}: {status}")),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => Err(format!(
            "{program}: killed after {} s",
            exec.timeout.get().as_secs()
        )),
    }
}

/// Feeds a command, hears what it says, and waits for its end.
async fn attend(child: &mut Child, message: &Received) -> std::io::Result<std::process::ExitStatus> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command need not read its input.
            let _ = stdin.write_all(&message.data).await;
        }
    };
    let hear = async { tokio::join!(log(stdout, message), log(stderr, message)) };
    let talk = async { tokio::join!(feed, hear) };
    tokio::pin!(talk);
    let status = tokio::select! {
        status = child.wait() => status?,
        _ = &mut talk => return child.wait().await,
    };
    let _ = tokio::time::timeout(LAST_WORDS, talk).await;
    Ok(status)
}

/// Writes what a command says into the log.
async fn log(output: Option<impl AsyncRead + Unpin>, message: &Received) {
    let Some(mut output) = output else { return };
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        let room = MAX_OUTPUT.saturating_sub(said.len());
        said.extend(buffer.iter().take(read.min(room)));
    }
    for line in String::from_utf8_lossy(&said).lines() {
        tracing::info!(topic = %message.topic, id = %message.id, line, "the command says");
    }
}

/// Ends all that a command has started.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Mostly there is nobody left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
