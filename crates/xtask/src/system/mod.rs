//! `cargo xtask system`: the Debian package on hosts with systemd, from its installation to its purge.

mod host;
mod reload;
mod role;
mod tunnel;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use self::host::{Bridge, Host, until};
use crate::{dist, say};

/// Where and with what.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The program, if it is built already
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// A directory with a minimal Debian to start from, instead of one made by debootstrap
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
}

const BRIDGE: &str = "cardume-sys";
/// Bytes of the file that goes from one host to the other.
const SIZE: usize = 32 << 20;
/// A watchdog that this does not have to wait half a minute for.
const WATCHDOG: &str = "[Service]\nWatchdogSec=6s\n";

/// Runs everything, or says loudly why it cannot.
pub(crate) fn run_with(options: &Options) -> anyhow::Result<()> {
    if let Some(why) = lacking(options)? {
        say(&format!("system: SKIPPED: {why}"));
        return Ok(());
    }
    let place = Temporary::new()?;
    let packages = ["0.0.1", "0.0.2"].map(|version| package(options, &place.0, version));
    let [first, second] = packages;
    let (first, second) = (first?, second?);
    let base = match &options.base {
        Some(base) => base.clone(),
        None => debian(&place.0)?,
    };
    let bridge = Bridge::new(BRIDGE)?;
    let den = Host::boot(&base, place.0.join("den"), &bridge, "10.77.9.1/24")?;
    let attic = Host::boot(&base, place.0.join("attic"), &bridge, "10.77.9.2/24")?;
    for host in [&den, &attic] {
        tell("installed and active after", install(host, &first)?);
    }
    say(&format!("system: {}", exposure(&den)?));
    let (link, bytes) = share(&den)?;
    fetch(&attic, &link, &bytes)?;
    tunnel::through(&den, &attic)?;
    wanted(&attic, &link, &bytes)?;
    mistaken(&attic)?;
    reload::while_they_work(&den, &attic)?;
    survives(&den)?;
    tell("stopped after", reload::stop(&den)?);
    activated(&den)?;
    upgrade(&den, &second)?;
    purge(&den)?;
    role::plays(&den, &second)?;
    say("system: everything was as it should be");
    Ok(())
}

fn tell(what: &str, time: Duration) {
    say(&format!("system: {what} {:.2} s", time.as_secs_f64()));
}

/// What is missing here, if anything is.
fn lacking(options: &Options) -> anyhow::Result<Option<String>> {
    let id = dist::output_of(Command::new("id").arg("-u"))?;
    if id.trim_ascii() != b"0" {
        return Ok(Some("booting hosts needs root".into()));
    }
    let mut programs = vec!["systemd-nspawn", "nsenter", "ip", "systemctl"];
    if options.base.is_none() {
        programs.push("debootstrap");
    }
    let missing = programs
        .into_iter()
        .find(|program| Command::new(program).arg("--version").output().is_err());
    Ok(missing.map(|program| format!("{program} is not installed")))
}

/// A directory that goes with everything in it.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> anyhow::Result<Self> {
        let made = dist::output_of(Command::new("mktemp").args([
            "--directory",
            "--tmpdir",
            "cardume-system.XXXXXX",
        ]))?;
        Ok(Self(String::from_utf8(made)?.trim().into()))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn package(options: &Options, place: &Path, version: &str) -> anyhow::Result<PathBuf> {
    let output = place.join(version);
    dist::run_with(&dist::Options {
        output: output.clone(),
        binary: options.binary.clone(),
        package_version: Some(version.into()),
        deb_only: true,
    })?;
    let entries = fs::read_dir(output)?
        .filter_map(Result::ok)
        .map(|entry| entry.path());
    entries
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .context("there is no package")
}

fn debian(place: &Path) -> anyhow::Result<PathBuf> {
    let base = place.join("base");
    say("system: making a minimal Debian");
    dist::output_of(
        Command::new("debootstrap")
            .args([
                "--variant=minbase",
                // What Ansible's cryptography needs is named by a virtual package, which debootstrap does not see.
                "--include=systemd,systemd-sysv,dbus,python3-apt,python3-cffi-backend,ansible-core",
                "stable",
            ])
            .arg(&base),
    )?;
    Ok(base)
}

fn install(host: &Host, package: &Path) -> anyhow::Result<Duration> {
    fs::copy(package, host.root.join("cardume.deb"))?;
    let began = Instant::now();
    host.run(&["dpkg", "--install", "/cardume.deb"])?;
    host.active_after(None)?;
    Ok(began.elapsed())
}

/// What systemd says of the unit as it runs.
fn exposure(host: &Host) -> anyhow::Result<String> {
    let report = host.run(&[
        "systemd-analyze",
        "--no-pager",
        "security",
        "--threshold=11",
        "cardume.service",
    ])?;
    host.run(&[
        "systemd-analyze",
        "verify",
        "--man=no",
        "cardume.service",
        "cardume.socket",
    ])?;
    let line = report
        .lines()
        .last()
        .context("systemd-analyze has said nothing")?;
    Ok(line.trim_start_matches(|c: char| !c.is_alphanumeric()).to_owned())
}

/// Shares a file as root does, who is not the daemon's user.
fn share(host: &Host) -> anyhow::Result<(String, Vec<u8>)> {
    let mut bytes = vec![0; SIZE];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    fs::write(host.root.join("srv/film.bin"), &bytes)?;
    let shared = host.run(&["cardume", "share", "/srv/film.bin"])?;
    let link = shared
        .lines()
        .last()
        .context("share has printed nothing")?
        .to_owned();
    // Where the daemon does not get to, it says so, and a copy over the socket does it.
    fs::write(host.root.join("root/note"), "for the other host")?;
    host.run(&["cardume", "share", "/root/note"])
        .expect_err("the daemon does not read in /root");
    host.run(&["cardume", "share", "--copy", "/root/note"])?;
    Ok((link, bytes))
}

/// Gets it to where only root may write.
fn fetch(host: &Host, link: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let began = Instant::now();
    for place in ["root/got.bin", "tmp/got.bin"] {
        host.run(&["cardume", "get", link, "-o", &format!("/{place}")])?;
        // In the host's own view: /tmp is a file system of its own there.
        let seen = host.run(&["sh", "-c", &format!("cat /{place} | cksum")])?;
        let want = host.run(&["sh", "-c", "cksum < /root/got.bin"])?;
        ensure!(seen == want, "{place} is not what was shared");
    }
    ensure!(
        fs::read(host.root.join("root/got.bin"))? == bytes,
        "other bytes came than were shared"
    );
    tell("fetched from the other host, twice, after", began.elapsed());
    Ok(())
}

/// A `[fetch.NAME]` outside the state directory, with the drop-in that operations.md has for it.
fn wanted(host: &Host, link: &str, bytes: &[u8]) -> anyhow::Result<()> {
    host.run(&["install", "-d", "-o", "cardume", "-g", "cardume", "/srv/films"])?;
    let drop_in = host.root.join("etc/systemd/system/cardume.service.d");
    fs::create_dir_all(&drop_in)?;
    fs::write(
        drop_in.join("paths.conf"),
        "[Service]\nReadWritePaths=/srv/films\n",
    )?;
    let config = format!("[fetch.film]\nfrom = \"{link}\"\nto = \"/srv/films/film.bin\"\n");
    fs::write(host.root.join("etc/cardume/conf.d/fetch.toml"), config)?;
    host.run(&["systemctl", "daemon-reload"])?;
    host.run(&["systemctl", "restart", "cardume.service"])?;
    let film = host.root.join("srv/films/film.bin");
    until("the wanted file is there", || Ok(film.exists().then_some(())))
        .with_context(|| host.journal().unwrap_or_default())?;
    ensure!(fs::read(film)? == bytes, "other bytes came than were wanted");
    Ok(())
}

/// A mistake in the configuration ends the service for good, and says so.
fn mistaken(host: &Host) -> anyhow::Result<()> {
    let mistake = host.root.join("etc/cardume/conf.d/mistake.toml");
    fs::write(&mistake, "[node]\nnmae = \"attic\"\n")?;
    host.attempt(&["systemctl", "restart", "cardume.service"])?;
    until("the service has failed", || {
        Ok((host.property("ActiveState")? == "failed").then_some(()))
    })?;
    let (status, restarts) = (host.property("ExecMainStatus")?, host.property("NRestarts")?);
    ensure!(
        status == "78" && restarts == "0",
        "status {status}, {restarts} restarts"
    );
    ensure!(
        host.journal()?.contains("mistake.toml:2:1"),
        "the log does not say where the mistake is"
    );
    fs::remove_file(mistake)?;
    host.run(&["systemctl", "start", "cardume.service"])?;
    Ok(())
}

/// Killed, and stopped in its tracks, it comes back by itself.
fn survives(host: &Host) -> anyhow::Result<()> {
    let before = host.daemon()?;
    host.run(&["systemctl", "kill", "--signal=KILL", "cardume.service"])?;
    tell("killed, and active again after", host.active_after(before)?);

    let runtime = host.root.join("etc/systemd/system/cardume.service.d");
    fs::create_dir_all(&runtime)?;
    fs::write(runtime.join("watchdog.conf"), WATCHDOG)?;
    host.run(&["systemctl", "daemon-reload"])?;
    host.run(&["systemctl", "restart", "cardume.service"])?;
    until("it tells what it does", || {
        Ok(host.property("StatusText")?.contains("sent").then_some(()))
    })?;
    say(&format!(
        "system: its status is {:?}",
        host.property("StatusText")?
    ));
    let before = host.daemon()?;
    host.run(&[
        "systemctl",
        "kill",
        "--kill-whom=main",
        "--signal=STOP",
        "cardume.service",
    ])?;
    tell(
        "stood still (watchdog of 6 s), and active again after",
        host.active_after(before)?,
    );
    ensure!(
        host.journal()?.to_lowercase().contains("watchdog"),
        "it was not the watchdog"
    );
    Ok(())
}

/// With `cardume.socket` a command starts the daemon, and waits for it.
fn activated(host: &Host) -> anyhow::Result<()> {
    host.run(&["systemctl", "enable", "--now", "cardume.socket"])?;
    ensure!(
        host.daemon()?.is_none(),
        "the service runs before anybody has asked for it"
    );
    host.run(&["cardume", "status"])?;
    host.active_after(None)?;
    host.run(&["systemctl", "restart", "cardume.service"])?;
    host.run(&["cardume", "status"])
        .context("after a restart behind the socket")?;
    host.run(&["systemctl", "disable", "--now", "cardume.socket"])?;
    host.run(&["systemctl", "restart", "cardume.service"])?;
    Ok(())
}

/// An upgrade keeps who the node is and what it has.
fn upgrade(host: &Host, package: &Path) -> anyhow::Result<()> {
    let told = || {
        Ok::<_, anyhow::Error>((
            host.run(&["cardume", "id"])?,
            host.run(&["cardume", "file", "ls"])?,
        ))
    };
    let (before, process) = (told()?, host.daemon()?);
    fs::copy(package, host.root.join("cardume.deb"))?;
    let began = Instant::now();
    host.run(&["dpkg", "--install", "/cardume.deb"])?;
    host.active_after(process)?;
    tell("upgraded, and active again after", began.elapsed());
    host.run(&["cardume", "status", "--wait", "20s"])?;
    let after = told()?;
    ensure!(
        before == after,
        "before the upgrade {before:?}, after it {after:?}"
    );
    Ok(())
}

/// A purge leaves nothing but the user, who may own files elsewhere.
fn purge(host: &Host) -> anyhow::Result<()> {
    host.run(&["dpkg", "--purge", "cardume"])?;
    let left = host.run(&[
        "find",
        "/etc",
        "/usr",
        "/var",
        "/run",
        "-xdev",
        "-name",
        "*cardume*",
        "-not",
        "-path",
        "/etc/systemd/system/cardume.service.d*",
    ])?;
    let left: Vec<_> = left
        .lines()
        .filter(|path| !path.starts_with("/var/log/") && !path.contains("/systemd/units/"))
        .collect();
    ensure!(left.is_empty(), "the purge has left {left:?}");
    let running = host.attempt(&["sh", "-c", "cat /proc/[0-9]*/comm"])?;
    ensure!(
        !running.lines().any(|name| name == "cardume"),
        "a daemon still runs"
    );
    Ok(())
}
