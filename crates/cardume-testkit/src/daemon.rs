//! A real daemon in a process of its own, and the command line talking to it.

use std::{
    ffi::OsString,
    fs::File,
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::{
    hosts::Host,
    patience::{self, PATIENCE},
};

/// The exit status of a command about what nobody knows.
const NOT_FOUND: i32 = 4;

/// A node that has not been started, or has ended: its program, its files, and where it runs.
pub struct Home {
    program: PathBuf,
    directory: TempDir,
    host: Option<Host>,
    settings: Vec<String>,
    config: Option<PathBuf>,
    variables: Vec<(String, OsString)>,
}

impl Home {
    /// A home for the program at `program`, on this host; it listens on free loopback ports only and does
    /// no multicast, so that tests beside each other never meet.
    pub fn new(program: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let home = Self {
            program: program.into(),
            directory: tempfile::tempdir()?,
            host: None,
            settings: Vec::new(),
            config: None,
            variables: Vec::new(),
        };
        Ok(home
            .set(r#"listen.addresses=["/ip4/127.0.0.1/udp/0/quic-v1","/ip4/127.0.0.1/tcp/0"]"#)
            .set("mdns.enabled=false"))
    }

    /// A home on a host of its own, with nothing configured.
    pub fn on(program: impl Into<PathBuf>, host: &Host) -> anyhow::Result<Self> {
        Ok(Self {
            program: program.into(),
            directory: tempfile::tempdir()?,
            host: Some(host.clone()),
            settings: Vec::new(),
            config: None,
            variables: Vec::new(),
        })
    }

    /// Adds a `--set KEY=VALUE` to each start.
    #[must_use]
    pub fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    /// Starts with the configuration file at `path`, whoever runs the test: without one, root has that of the machine.
    #[must_use]
    pub fn config(mut self, path: impl Into<PathBuf>) -> Self {
        self.config = Some(path.into());
        self
    }

    /// Sets a variable in the environment of the daemon and of commands.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// A directory of this node's own for a test to use.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    /// A command line of the program, on this node's host, talking to this node, with a clean environment.
    pub fn command(&self) -> Command {
        let mut command = match &self.host {
            Some(host) => host.command(&self.program),
            None => Command::new(&self.program),
        };
        let home = self.directory.path();
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_DATA_HOME", home.join("share"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .env("CARDUME_API", format!("unix://{}", self.socket().display()))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(home);
        command
    }

    /// A command line that finds no daemon, and starts a node within itself, on free loopback ports.
    pub fn alone(&self) -> Command {
        let mut command = self.command();
        command.env_remove("CARDUME_API").stdin(Stdio::null());
        command.args(["--set", "mdns.enabled=false", "--set"]);
        command.arg("listen.addresses=/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1");
        command
    }

    /// Runs one command line and waits for it.
    pub fn run<S: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<Output> {
        patience::output(self.command().args(arguments).stdin(Stdio::null()))
    }

    /// Runs one command line, which must succeed, with `--json`, and returns the first line it printed.
    pub fn json<S: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<serde_json::Value> {
        let mut command = self.command();
        let output = patience::output(command.arg("--json").args(arguments).stdin(Stdio::null()))?;
        if !output.status.success() {
            bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8(output.stdout)?;
        let mut documents = serde_json::Deserializer::from_str(&text).into_iter();
        documents
            .next()
            .with_context(|| format!("no JSON in {text:?}"))?
            .context("JSON")
    }

    /// What the daemon answers to a plain GET of its control API: the whole answer, head and body.
    pub fn ask(&self, path: &str) -> anyhow::Result<String> {
        let mut socket = UnixStream::connect(self.socket())?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start(self) -> anyhow::Result<Daemon> {
        let log = self.directory.path().join("log");
        let sink = File::options().create(true).append(true).open(&log)?;
        let mut command = self.command();
        command
            .arg("daemon")
            .arg("--data-dir")
            .arg(self.directory.path().join("data"));
        command.args([
            "--set",
            &format!("control.listen=\"unix:{}\"", self.socket().display()),
        ]);
        command.args(["--set", "log.format=\"json\""]);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(sink.try_clone()?)
            .stderr(sink)
            .spawn()?;
        let mut daemon = Daemon {
            home: self,
            child: Some(child),
        };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }
}

/// The exit status of a command that ended by itself, or -1.
pub fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// What a command said on its standard error.
pub fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    home: Home,
    child: Option<Child>,
}

impl std::ops::Deref for Daemon {
    type Target = Home;
    fn deref(&self) -> &Home {
        &self.home
    }
}

impl Daemon {
    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            if let Some(status) = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().transpose())
                .transpose()?
            {
                bail!("the daemon ended with {status}: {}", self.log());
            }
            if self.home.socket().exists() && self.home.run(["status", "--wait", "10s"])?.status.success() {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("the daemon is not ready after {PATIENCE:?}: {}", self.log());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.directory.path().join("log")).unwrap_or_default()
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Its identity.
    pub fn peer_id(&self) -> anyhow::Result<String> {
        let status = self.json(["status"])?;
        Ok(status["peer_id"].as_str().context("peer_id")?.to_owned())
    }

    /// A multiaddr to reach it at, with `/p2p/`; over TCP if `tcp`, else over QUIC.
    pub fn address(&self, tcp: bool) -> anyhow::Result<String> {
        let status = self.json(["status"])?;
        let peer = status["peer_id"].as_str().context("peer_id")?;
        let wanted = if tcp { "/tcp/" } else { "/quic-v1" };
        let listen = status["listen"].as_array().context("listen")?;
        let ip = self
            .home
            .host
            .as_ref()
            .map_or("127.0.0.", |host| host.ip.as_str());
        let mut found = listen.iter().filter_map(|a| a.as_str());
        let address = found
            .find(|a| a.contains(wanted) && a.contains(ip))
            .context("an address")?;
        Ok(match address.contains("/p2p/") {
            true => address.to_owned(),
            false => format!("{address}/p2p/{peer}"),
        })
    }

    /// How it reaches a peer, as `peer show` tells; null while it does not, or has not heard of the peer.
    pub fn connection(&self, peer: &str) -> anyhow::Result<serde_json::Value> {
        let output = self.run(["--json", "peer", "show", peer])?;
        if status(&output) == NOT_FOUND {
            return Ok(serde_json::Value::Null);
        }
        ensure!(output.status.success(), "{}", error(&output));
        let mut shown: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        Ok(shown["connection"].take())
    }

    /// The TCP address it listens at.
    pub fn tcp(&self) -> anyhow::Result<SocketAddr> {
        let address = self.address(true)?;
        let mut parts = address.split('/').skip(2);
        let ip = parts.next().context("ip")?;
        let port = parts.nth(1).context("port")?;
        Ok(SocketAddr::new(ip.parse()?, port.parse()?))
    }

    /// Resident anonymous memory, bytes.
    pub fn anonymous_memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process()?))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .context("RssAnon")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
    }

    /// The daemon's own process: `ip netns exec` replaces itself by it.
    fn process(&self) -> anyhow::Result<u32> {
        self.child.as_ref().map(Child::id).context("not running")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid())?).context("not running")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Ends it without warning, as a power cut ends a process.
    pub fn kill(mut self) -> anyhow::Result<Home> {
        let mut child = self.child.take().context("not running")?;
        child.kill()?;
        child.wait()?;
        Ok(self.into_home())
    }

    /// Asks it to stop, and waits.
    pub fn stop(mut self) -> anyhow::Result<(Home, ExitStatus)> {
        self.signal(Signal::TERM)?;
        let status = patience::ended(self.child.as_mut().context("not running")?)?;
        self.child = None;
        Ok((self.into_home(), status))
    }

    fn into_home(mut self) -> Home {
        let empty = Home {
            program: PathBuf::new(),
            directory: TempDir::new().expect("a temporary directory"),
            host: None,
            settings: Vec::new(),
            config: None,
            variables: Vec::new(),
        };
        std::mem::replace(&mut self.home, empty)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
