//! Programs of the operator's, run when something happens.
//!
//! One that configuration names is started, given its input and variables, heard, and waited for. This crate decides
//! neither when a program runs nor how many at once, and writes no log: what a program says goes to the caller.
//!
//! # Invariants
//!
//! * **Nothing outlives its run.** What a program has started is killed with it: at its end, at the limit, and when the
//!   future is dropped.
//! * **The node's own environment is not handed on.** It may hold credentials.
//! * **What is kept of what a program says is bounded**; the rest is read, so that it need not wait, and dropped.
use std::{
    ffi::OsString,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

/// Where programs are looked for, by us and by those that we start.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes of each of the two outputs of one run that are kept; a program that says more would fill the log.
const MAX_OUTPUT: usize = 8 * 1024;
/// Time after the end of a program for what it has started to close its output.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// One run of a program.
#[derive(Debug)]
pub struct Run<'a> {
    /// The program and its arguments; no shell reads them.
    pub argv: &'a [String],
    /// Its environment besides `PATH`.
    pub variables: Vec<(&'static str, OsString)>,
    /// Where it starts.
    pub directory: &'a Path,
    /// What it can read from its standard input.
    pub input: &'a [u8],
    /// After this it is killed.
    pub limit: Duration,
}

/// Why a program is not known to have done its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It could not be started, or waited for.
    #[error("{program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long.
    #[error("{program}: killed after {limit:?}")]
    TimedOut {
        /// The program.
        program: String,
        /// What it had.
        limit: Duration,
    },
    /// It ended with something else than 0.
    #[error("{program}: {status}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
}

impl Run<'_> {
    /// Runs the program to its end, and tells `said` each line of its output.
    ///
    /// # Errors
    /// When there is none or it cannot be run, takes too long, or ends with something else than 0.
    ///
    /// # Cancel safety
    /// Dropping the future kills it, and what it has started.
    pub async fn run(self, said: impl Fn(&str)) -> Result<(), RunError> {
        let program = self.argv.first().cloned().unwrap_or_default();
        let start = |source| RunError::Start {
            program: program.clone(),
            source,
        };
        let mut child = self.spawn().map_err(start)?;
        let _group = Group::of(&child);
        let ended = tokio::time::timeout(self.limit, attend(&mut child, self.input, &said)).await;
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(RunError::Failed { program, status }),
            Ok(Err(source)) => Err(start(source)),
            Err(_) => Err(RunError::TimedOut {
                program,
                limit: self.limit,
            }),
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let [program, arguments @ ..] = self.argv else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program"));
        };
        Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what it starts can be ended with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Feeds a program, hears what it says, and waits for its end.
async fn attend(child: &mut Child, input: &[u8], said: &impl Fn(&str)) -> io::Result<ExitStatus> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program need not read its input.
            let _ = stdin.write_all(input).await;
        }
    };
    let talk = async { tokio::join!(feed, hear(stdout, said), hear(stderr, said)) };
    tokio::pin!(talk);
    let status = tokio::select! {
        status = child.wait() => status?,
        _ = &mut talk => return child.wait().await,
    };
    let _ = tokio::time::timeout(LAST_WORDS, talk).await;
    Ok(status)
}

async fn hear(output: Option<impl AsyncRead + Unpin>, said: &impl Fn(&str)) {
    let Some(mut output) = output else { return };
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        let room = MAX_OUTPUT.saturating_sub(text.len());
        text.extend(buffer.iter().take(read.min(room)));
    }
    String::from_utf8_lossy(&text).lines().for_each(said);
}

/// A program and all that it has started; killed when dropped.
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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, fs, time::Instant};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn run<'a>(argv: &'a [String], directory: &'a Path, limit: Duration) -> Run<'a> {
        Run {
            argv,
            variables: vec![("TOLD", "told".into())],
            directory,
            input: b"input\n",
            limit,
        }
    }

    #[tokio::test]
    async fn a_program_has_its_input_and_variables_and_nothing_of_the_nodes_environment() {
        let dir = tempfile::tempdir().unwrap();
        let argv = shell("read line; echo \"$line $TOLD ${CARGO_MANIFEST_DIR-nothing}\"; pwd >&2");
        let said = RefCell::new(Vec::new());
        let hear = |line: &str| said.borrow_mut().push(line.to_owned());
        run(&argv, dir.path(), LONG).run(hear).await.unwrap();
        let mut said = said.into_inner();
        said.sort();
        let mut wanted = vec![
            "input told nothing".to_owned(),
            fs::canonicalize(dir.path()).unwrap().display().to_string(),
        ];
        wanted.sort();
        assert_eq!(said, wanted);
    }

    #[tokio::test]
    async fn how_it_ended_is_told() {
        let here = Path::new("/");
        let argv = shell("exit 3");
        let failed = run(&argv, here, LONG).run(|_| {}).await.unwrap_err();
        assert!(matches!(&failed, RunError::Failed { status, .. } if status.code() == Some(3)));
        let argv = ["/no/such".to_owned()];
        let missing = run(&argv, here, LONG).run(|_| {}).await.unwrap_err();
        assert!(missing.to_string().starts_with("/no/such: "), "{missing}");
        let none = run(&[], here, LONG).run(|_| {}).await;
        assert!(matches!(none, Err(RunError::Start { .. })));
    }

    #[tokio::test]
    async fn one_that_says_more_than_is_kept_need_not_wait() {
        let argv = shell("head -c 1000000 /dev/zero | tr '\\0' x");
        let kept = RefCell::new(0);
        let hear = |line: &str| *kept.borrow_mut() += line.len();
        run(&argv, Path::new("/"), LONG).run(hear).await.unwrap();
        assert_eq!(kept.into_inner(), MAX_OUTPUT);
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed_with_all_it_has_started() {
        let dir = tempfile::tempdir().unwrap();
        let argv = shell("sleep 1000 & echo $! > child; wait");
        let hung = run(&argv, dir.path(), Duration::from_secs(1)).run(|_| {}).await;
        assert!(matches!(hung, Err(RunError::TimedOut { .. })));
        let child = fs::read_to_string(dir.path().join("child")).unwrap();
        let status = format!("/proc/{}/stat", child.trim());
        // Gone, or a zombie that nobody has waited for.
        let gone = || fs::read_to_string(&status).map_or(true, |text| text.contains(") Z "));
        let began = Instant::now();
        while !gone() {
            assert!(began.elapsed() < LONG, "it still runs");
            tokio::task::yield_now().await;
        }
    }
}
