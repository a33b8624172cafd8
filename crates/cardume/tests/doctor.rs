//! What `cardume doctor` finds when a node is ill in one way or another: the true cause, and a remedy.

use std::{
    ffi::OsString,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime},
};

use anyhow::{Context, ensure};
use cardume_testkit::{
    daemon::Home,
    hosts::{self, Lan},
    neighbour::Neighbour,
    patience,
};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

/// What the doctor says of a node that does not run, with more arguments before the command.
fn examine(home: &Home, more: &[&str]) -> anyhow::Result<Value> {
    report(&patience::output(
        arguments(home, home.command(), more).stdin(Stdio::null()),
    )?)
}

fn arguments(home: &Home, mut command: Command, more: &[&str]) -> Command {
    command
        .arg("--json")
        .arg("--data-dir")
        .arg(home.path().join("data"));
    command
        .args(["--set", "mdns.enabled=false"])
        .args(more)
        .arg("doctor");
    command
}

/// The same command line, run by a shell after `first`.
fn after(first: &str, home: &Home) -> anyhow::Result<Value> {
    let usual = arguments(
        home,
        home.command(),
        &["--set", r#"listen.addresses=["/ip4/127.0.0.1/tcp/0"]"#],
    );
    let line = format!("{first}; exec \"$0\" \"$@\"");
    let mut shell = Command::new("unshare");
    shell
        .args(["--mount", "sh", "-c", &line, PROGRAM])
        .args(usual.get_args());
    let set = |(key, value): (&std::ffi::OsStr, Option<&std::ffi::OsStr>)| {
        value.map(|value| (key.to_owned(), value.to_owned()))
    };
    let variables: Vec<(OsString, OsString)> = usual.get_envs().filter_map(set).collect();
    shell.env_clear().envs(variables).stdin(Stdio::null());
    report(&patience::output(&mut shell)?)
}

fn report(output: &Output) -> anyhow::Result<Value> {
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    ensure!(report["healthy"] == (output.status.code() == Some(0)), "{report}");
    Ok(report)
}

/// What is found of this check, if it is found so.
fn found<'a>(report: &'a Value, check: &str, state: &str) -> anyhow::Result<&'a str> {
    let findings = report["findings"].as_array().context("findings")?;
    let found = findings.iter().find(|found| found["check"] == check);
    let found = found.with_context(|| format!("{check}: {report}"))?;
    ensure!(found["state"] == state, "{found}");
    found["what"].as_str().context("what")
}

/// The one thing that is wrong, of this check; it names a remedy.
fn only_wrong<'a>(report: &'a Value, check: &str) -> anyhow::Result<&'a str> {
    let findings = report["findings"].as_array().context("findings")?;
    let wrong: Vec<_> = findings
        .iter()
        .filter(|found| found["state"] == "wrong")
        .collect();
    ensure!(
        !wrong.is_empty() && wrong.iter().all(|found| found["check"] == check),
        "{wrong:?}"
    );
    ensure!(wrong[0]["remedy"].is_string(), "{wrong:?}");
    wrong[0]["what"].as_str().context("what")
}

#[test]
fn a_running_node_that_is_well_is_told_so_and_its_bundle_has_no_key() -> anyhow::Result<()> {
    let daemon = Home::new(PROGRAM)?.start()?;
    let found = daemon.json(["doctor", "--bundle", "bundle"])?;
    ensure!(found["healthy"] == true && found["daemon"] == true, "{found}");
    let bundle = daemon.path().join("bundle");
    ensure!(fs::metadata(&bundle)?.permissions().mode() & 0o777 == 0o600);
    let bundle: Value = serde_json::from_slice(&fs::read(bundle)?)?;
    ensure!(
        bundle["daemon"]["status"]["peer_id"] == daemon.peer_id()?.as_str(),
        "{bundle}"
    );
    ensure!(bundle["config"]["mdns"]["enabled"] == false, "{bundle}");
    Ok(())
}

#[test]
fn the_doctor_names_the_cause_on_a_node_that_does_not_run() -> anyhow::Result<()> {
    let home = Home::new(PROGRAM)?;
    let data = home.path().join("data");
    fs::create_dir(&data)?;
    let free = ["--set", r#"listen.addresses=["/ip4/127.0.0.1/tcp/0"]"#];
    ensure!(examine(&home, &free)?["healthy"] == true);

    let taken = TcpListener::bind("127.0.0.1:0")?;
    let listen = format!(
        r#"listen.addresses=["/ip4/127.0.0.1/tcp/{}"]"#,
        taken.local_addr()?.port()
    );
    let found = examine(&home, &["--set", &listen])?;
    ensure!(only_wrong(&found, "ports")?.contains("in use"), "{found}");

    let address = taken.local_addr()?;
    let found = examine(
        &home,
        &[&free[..], &["--set", &format!("metrics.listen={address}")]].concat(),
    )?;
    let what = only_wrong(&found, "ports")?;
    ensure!(
        what.contains(&format!("tcp port {} is in use", address.port())),
        "{found}"
    );
    ensure!(found.to_string().contains("change metrics.listen"), "{found}");
    let open = examine(
        &home,
        &[&free[..], &["--set", "metrics.listen=0.0.0.0:0"]].concat(),
    )?;
    ensure!(
        self::found(&open, "metrics", "note")?.contains("everybody"),
        "{open}"
    );

    let nobody = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let bootstrap = format!(r#"connect.bootstrap=["/ip4/127.0.0.1/tcp/1/p2p/{nobody}"]"#);
    let found = examine(&home, &[&free[..], &["--set", &bootstrap]].concat())?;
    ensure!(
        only_wrong(&found, "bootstrap")?.contains("no bootstrap peer answers"),
        "{found}"
    );

    let written = fs::File::create(data.join("peers"))?;
    written.set_modified(SystemTime::now() + Duration::from_secs(86_400))?;
    let found = examine(&home, &free)?;
    ensure!(only_wrong(&found, "clock")?.contains("behind"), "{found}");
    written.set_modified(SystemTime::now())?;

    let key = data.join("identity.key");
    let made = home.run([std::ffi::OsStr::new("key"), "gen".as_ref(), key.as_os_str()])?;
    if !made.status.success() {
        fs::write(&key, [8, 1])?;
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    let found = examine(&home, &free)?;
    ensure!(only_wrong(&found, "key")?.contains("0644"), "{found}");
    Ok(())
}

#[test]
fn the_doctor_names_relays_and_points_that_are_away() -> anyhow::Result<()> {
    let nobody = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let daemon = Home::new(PROGRAM)?
        .set(format!("nat.relays=[\"{nobody}\"]"))
        .set(format!("rendezvous.points=[\"{nobody}\"]"))
        .start()?;
    patience::until("both are asked", || {
        let relays = daemon.json(["net", "relays"])?;
        let points = daemon.json(["net", "rendezvous"])?;
        Ok(relays[0]["problem"].is_string() && points["points"][0]["problem"].is_string())
    })?;
    let found = report(&daemon.run(["--json", "doctor"])?)?;
    let findings = found["findings"].as_array().context("findings")?;
    for (check, what) in [
        ("relays", "a place at 0 of 1 relay"),
        ("rendezvous", "registered at 0 of 1 point"),
    ] {
        let named = findings.iter().find(|named| named["check"] == check);
        let named = named.with_context(|| format!("{check}: {found}"))?;
        ensure!(
            named["state"] == "wrong" && named["remedy"].is_string(),
            "{named}"
        );
        let said = named["what"].as_str().context("what")?;
        ensure!(said.contains(what) && said.contains(&nobody[..20]), "{said}");
    }
    let mut others = findings.iter().filter(|named| named["state"] == "wrong");
    ensure!(
        others.all(|named| named["check"] == "relays" || named["check"] == "rendezvous"),
        "{found}"
    );
    Ok(())
}

#[test]
fn the_doctor_names_a_tunnel_that_does_not_listen() -> anyhow::Result<()> {
    let other = TcpListener::bind("127.0.0.1:0")?;
    let home = Home::new(PROGRAM)?;
    let config = home.path().join("cardume.toml");
    let place = other.local_addr()?.to_string();
    let nobody = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    fs::write(
        &config,
        format!("[tunnel.web]\nrole = \"forward\"\nlisten = {place:?}\npeer = {nobody:?}\n"),
    )?;
    let daemon = home.config(config).start()?;
    patience::until("it has tried", || {
        Ok(daemon.json(["tunnel", "ls"])?["state"] == "failed")
    })?;
    let found = report(&daemon.run(["--json", "doctor"])?)?;
    let said = only_wrong(&found, "tunnels")?;
    ensure!(said.contains("web") && said.contains(&place), "{said}");
    Ok(())
}

#[test]
fn the_doctor_names_a_full_disk_and_too_few_file_descriptors() -> anyhow::Result<()> {
    if !hosts::available() {
        return Ok(());
    }
    let home = Home::new(PROGRAM)?;
    let data = home.path().join("data");
    fs::create_dir(&data)?;
    let shown = data.display();
    let full =
        format!("mount -t tmpfs -o size=1m none {shown}; head -c 2000000 /dev/zero > {shown}/f 2>/dev/null");
    let found = after(&full, &home)?;
    let wrong = found["findings"].as_array().context("findings")?.iter();
    let wrong: Vec<_> = wrong.filter(|found| found["state"] == "wrong").collect();
    ensure!(wrong.iter().any(|found| found["check"] == "disk"), "{found}");
    ensure!(
        wrong
            .iter()
            .all(|found| found["check"] == "disk" || found["check"] == "data dir"),
        "{found}"
    );
    let found = after("ulimit -n 64", &home)?;
    ensure!(
        only_wrong(&found, "files")?.contains("file descriptors: 64"),
        "{found}"
    );
    Ok(())
}

#[test]
fn the_doctor_names_small_buffers_of_udp_and_what_they_should_be() -> anyhow::Result<()> {
    if !hosts::available() {
        return Ok(());
    }
    let home = Home::new(PROGRAM)?;
    // As they are by default, and as they should be: over the kernel's own, for this process only.
    for (bytes, state, said) in [
        (212_992, "note", "sysctl -w net.core.rmem_max=2097152"),
        (4 << 20, "ok", "4.0 MiB to receive"),
    ] {
        let limits = format!(
            "echo {bytes} > \"$HOME/limit\"; \
             for one in rmem wmem; do mount --bind \"$HOME/limit\" /proc/sys/net/core/${{one}}_max; done"
        );
        let report = after(&limits, &home)?;
        let what = found(&report, "udp buffers", state)?;
        ensure!(what.contains(said), "{what}");
        ensure!(
            report["healthy"] == true,
            "a node works with small ones: {report}"
        );
    }
    Ok(())
}

#[test]
fn the_doctor_names_peers_of_other_versions() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let daemon = Home::new(PROGRAM)?.start()?;
    let version = daemon.json(["status"])?["version"]
        .as_str()
        .context("version")?
        .to_owned();
    let own = format!("cardume/{version}");
    let mut neighbours = Vec::new();
    for (agent, state) in [(own.as_str(), "ok"), ("cardume/0.0.1", "note")] {
        let address = daemon.address(true)?;
        neighbours.push(runtime.block_on(Neighbour::of(&address, agent))?);
        patience::until("it says what it runs", || {
            let peers = daemon.run(["--json", "peer", "ls"])?;
            Ok(String::from_utf8_lossy(&peers.stdout).contains(&format!("{agent:?}")))
        })?;
        let report = report(&daemon.run(["--json", "doctor"])?)?;
        let what = found(&report, "peers", state)?;
        ensure!(what.contains(&format!("1 x {agent}")), "{what}");
        ensure!(what.contains("other versions") == (state == "note"), "{what}");
    }
    Ok(())
}

#[test]
fn the_doctor_names_a_firewall_that_keeps_others_out() -> anyhow::Result<()> {
    if !hosts::available() {
        return Ok(());
    }
    let mut lan = Lan::new()?;
    let host = lan.host()?;
    let rules = "table inet f { chain in { type filter hook input priority 0; policy accept; iifname lo accept; \
                 udp dport 4011 drop; tcp dport 4011 drop; }; }";
    if !Command::new("nft")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("SKIPPED: a firewall needs nftables (the `nft` program)");
        return Ok(());
    }
    ensure!(host.command("nft").arg(rules).status()?.success());
    let daemon = Home::on(PROGRAM, &host)?.start()?;
    let found = report(&daemon.run(["--json", "doctor"])?)?;
    ensure!(
        only_wrong(&found, "firewall")?.contains("4011 is firewalled"),
        "{found}"
    );
    ensure!(found["daemon"] == true);
    Ok(())
}
