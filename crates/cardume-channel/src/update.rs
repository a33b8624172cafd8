//! The program that is run when a followed version has changed.
use std::{
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use cardume_content::Cid;
use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

use crate::Id;

/// Bytes of its output that go to the log; the rest is read and dropped.
const MAX_OUTPUT: usize = 16 * 1024;

/// What the program is told, in its environment.
#[derive(Debug, Clone)]
pub struct Update {
    /// `CHANNEL_FOLLOW`: what configuration calls the follow.
    pub follow: String,
    /// `CHANNEL_ID`.
    pub channel: Id,
    /// `CHANNEL_NUMBER`: of the version that is there now.
    pub number: u64,
    /// `CHANNEL_CID`.
    pub cid: Cid,
    /// `CHANNEL_PATH`: where it is.
    pub path: PathBuf,
}

/// Why the program is not known to have done its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// It could not be started.
    #[error("on_update: {program:?} cannot be run: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long.
    #[error("on_update did not end within {0:?} and was killed")]
    TimedOut(Duration),
    /// It ended with something else than 0.
    #[error("on_update ended with {0}")]
    Failed(ExitStatus),
}

/// Runs a program and its arguments to the end, or kills it, and all that it has started, after `limit`. What it says
/// goes to the log.
///
/// # Errors
/// When it cannot be run, takes too long, or fails.
///
/// # Cancel safety
/// Dropping the future kills it.
pub async fn run(argv: &[String], update: &Update, limit: Duration) -> Result<(), UpdateError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Ok(());
    };
    let started = Command::new(program)
        .args(arguments)
        .env("CHANNEL_FOLLOW", &update.follow)
        .env("CHANNEL_ID", update.channel.to_string())
        .env("CHANNEL_NUMBER", update.number.to_string())
        .env("CHANNEL_CID", update.cid.to_string())
        .env("CHANNEL_PATH", &update.path)
        .current_dir(directory(&update.path))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = started.map_err(|source| UpdateError::Start {
        program: program.clone(),
        source,
    })?;
    let group = Group::of(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = async {
        let said = async { tokio::join!(say(stdout, update), say(stderr, update)) };
        let ((_, _), status) = tokio::join!(said, child.wait());
        status
    };
    let ended = tokio::time::timeout(limit, ended).await;
    drop(group);
    match ended {
        Err(_) => Err(UpdateError::TimedOut(limit)),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(UpdateError::Failed(status)),
        Ok(Err(source)) => Err(UpdateError::Start {
            program: program.clone(),
            source,
        }),
    }
}

/// Where a program may well stand: in the version, or beside it if that is a file.
fn directory(path: &Path) -> &Path {
    if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(path)
    }
}

/// The program and all that it has started; killed when dropped.
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
            // It may have ended.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// Writes what a program says to the log, a bounded part of it.
async fn say(stream: Option<impl AsyncRead + Unpin>, update: &Update) {
    let Some(mut stream) = stream else { return };
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let room = MAX_OUTPUT.saturating_sub(text.len()).min(read);
        text.extend(buffer.iter().take(room));
    }
    for line in String::from_utf8_lossy(&text).lines() {
        tracing::info!(
            follow = update.follow,
            number = update.number,
            "on_update: {line:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use cardume_content::Hash;
    use libp2p_identity::ed25519;

    use super::*;

    fn update(path: &Path) -> Update {
        Update {
            follow: "films".into(),
            channel: Id::of(&ed25519::Keypair::generate().public()),
            number: 7,
            cid: Cid::directory(Hash::of(b"x")),
            path: path.to_owned(),
        }
    }

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn a_program_is_told_what_is_there_and_how_it_ended_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let update = update(dir.path());
        let script = "echo \"$CHANNEL_FOLLOW $CHANNEL_ID $CHANNEL_NUMBER $CHANNEL_CID $CHANNEL_PATH\" > told";
        run(&shell(script), &update, Duration::from_secs(60))
            .await
            .unwrap();
        let told = std::fs::read_to_string(dir.path().join("told")).unwrap();
        let (id, cid, path) = (update.channel, update.cid, update.path.display());
        assert_eq!(told.trim(), format!("films {id} 7 {cid} {path}"));
        let failed = run(&shell("echo no >&2; exit 3"), &update, Duration::from_secs(60)).await;
        assert!(matches!(failed, Err(UpdateError::Failed(status)) if status.code() == Some(3)));
        let missing = run(&["/no/such".into()], &update, Duration::from_secs(60)).await;
        assert!(matches!(missing, Err(UpdateError::Start { .. })));
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_with_all_it_has_started() {
        let dir = tempfile::tempdir().unwrap();
        let script = "sleep 1000 & echo $! > child; wait";
        let hung = run(&shell(script), &update(dir.path()), Duration::from_millis(500)).await;
        assert!(matches!(hung, Err(UpdateError::TimedOut(_))));
        let child = std::fs::read_to_string(dir.path().join("child")).unwrap();
        let status = format!("/proc/{}/stat", child.trim());
        // Gone, or a zombie that nobody has waited for.
        let gone = || std::fs::read_to_string(&status).map_or(true, |text| text.contains(") Z "));
        let began = std::time::Instant::now();
        while !gone() {
            assert!(began.elapsed() < Duration::from_secs(60), "it still runs");
            tokio::task::yield_now().await;
        }
    }
}
