//! Waits that end: what hangs fails its test, by name, instead of holding everything up.

use std::{
    io::Read as _,
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal};

/// Longer than anything in a test takes on a slow machine that does other things too.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at something that tells nobody when it changes.
const GLANCE: Duration = Duration::from_millis(10);

/// Runs a command to its end; it is killed, and an error, when it takes longer than [`PATIENCE`].
///
/// # Errors
///
/// When it cannot be run, or hangs.
pub fn output(command: &mut Command) -> anyhow::Result<Output> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.with_context(|| format!("{command:?}"))?;
    output_of(child).with_context(|| format!("{command:?}"))
}

/// What a child whose output is piped still prints until its end; killed when that takes longer than [`PATIENCE`].
///
/// # Errors
///
/// When it hangs.
pub fn output_of(child: Child) -> anyhow::Result<Output> {
    let pid = Pid::from_raw(i32::try_from(child.id())?).context("a process id")?;
    let (done, ended) = channel::<()>();
    let guard = thread::spawn(move || {
        let hangs = ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if hangs {
            rustix::process::kill_process(pid, Signal::KILL).ok();
        }
        hangs
    });
    let output = child.wait_with_output();
    drop(done);
    let hung = guard.join().ok().context("the guard of a process")?;
    let output = output?;
    if hung {
        bail!(
            "still running after {PATIENCE:?}, having said {:?}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}

/// Starts a command whose daemon is to do something long, and waits until the daemon has taken it: until the command,
/// told to by `--progress json`, shows how far that is. What it says after that is for [`output_of`].
///
/// # Errors
///
/// When it cannot be run, ends before, or hangs.
pub fn begun(command: &mut Command) -> anyhow::Result<Child> {
    command.args(["--progress", "json"]).stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("{command:?}"))?;
    let mut stderr = child.stderr.take().context("what it says")?;
    let (said, heard) = channel();
    thread::spawn(move || said.send(first_line(&mut stderr).map(|line| (line, stderr))));
    let heard = heard.recv_timeout(PATIENCE).ok().context("nothing is said")?;
    let (line, stderr) = heard.with_context(|| format!("{command:?}"))?;
    ensure!(line.starts_with('{'), "{command:?} said {line:?}");
    child.stderr = Some(stderr);
    Ok(child)
}

/// Byte by byte, so that nothing after the line is taken.
fn first_line(stderr: &mut ChildStderr) -> anyhow::Result<String> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stderr.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8(line)?)
}

/// Waits for the end of a child; it is killed, and an error, when it takes longer than [`PATIENCE`].
///
/// # Errors
///
/// When it hangs.
pub fn ended(child: &mut Child) -> anyhow::Result<ExitStatus> {
    let mut status = None;
    let waited = until("the end of a process", || {
        status = child.try_wait()?;
        Ok(status.is_some())
    });
    if waited.is_err() {
        child.kill()?;
        child.wait()?;
    }
    waited?;
    status.context("a status")
}

/// Looks again and again until `done`.
///
/// # Errors
///
/// What `done` says, or that it was not so within [`PATIENCE`].
pub fn until(what: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !done()? {
        ensure!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        thread::park_timeout(GLANCE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_ends_is_told_whole() {
        let output =
            output(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).expect("it runs");
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(
            (&output.stdout[..], &output.stderr[..]),
            (&b"out\n"[..], &b"err\n"[..])
        );
    }
}
