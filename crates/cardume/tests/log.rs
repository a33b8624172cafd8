//! The last lines of the log, as the daemon keeps them.
use std::{
    fs::{self, File},
    process::Stdio,
};

use anyhow::{Context, ensure};
use cardume_testkit::{
    daemon::{Home, status},
    patience,
};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");
const PEER: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

fn lines(output: &std::process::Output) -> anyhow::Result<Vec<Value>> {
    let documents = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    documents.collect::<Result<_, _>>().context("JSON, a line each")
}

#[test]
fn the_last_lines_are_told_and_those_that_come_as_they_come() -> anyhow::Result<()> {
    let daemon = Home::new(PROGRAM)?.start()?;
    let mut ready = None;
    patience::until("it has said that it is ready", || {
        let told = lines(&daemon.run(["--json", "log"])?)?;
        let says = |line: &Value| {
            line["text"]
                .as_str()
                .is_some_and(|text| text.starts_with("ready version="))
        };
        ready = told.into_iter().find(says);
        Ok(ready.is_some())
    })?;
    let ready = ready.context("a line")?;
    ensure!(
        ready["level"] == "info" && ready["target"] == "cardume::daemon::greeting",
        "{ready}"
    );
    ensure!(
        ready["at_ms"].as_u64().is_some_and(|at| at > 1_767_225_600_000),
        "{ready}"
    );
    let one = daemon.run(["log", "-n", "1"])?;
    let one = String::from_utf8(one.stdout)?;
    ensure!(
        one.lines().count() == 1 && one.contains("Z INFO  cardume"),
        "{one}"
    );

    let path = daemon.path().join("followed");
    let followed = || fs::read_to_string(&path);
    let mut command = daemon.command();
    command.args(["log", "-f", "--lines", "500"]).stdin(Stdio::null());
    let child = command
        .stdout(File::create(&path)?)
        .stderr(Stdio::null())
        .spawn()?;
    patience::until("the last lines are there", || Ok(followed()?.contains(&one)))?;
    ensure!(daemon.run(["peer", "block", PEER])?.status.success());
    let blocked = format!("blocked peer={PEER}\n");
    patience::until("a line has come", || Ok(followed()?.contains(&blocked)))?;
    ensure!(daemon.run(["stop"])?.status.success());
    // It ends with the daemon.
    patience::output_of(child)?;
    Ok(())
}

#[test]
fn it_is_kept_at_the_level_that_is_configured_and_for_operators_alone() -> anyhow::Result<()> {
    let daemon = Home::new(PROGRAM)?.set("log.level=\"error\"").start()?;
    ensure!(daemon.run(["peer", "block", PEER])?.status.success());
    ensure!(lines(&daemon.run(["--json", "log"])?)?.is_empty());

    let token = daemon.json(["token", "new", "eye", "--scope", "read,content"])?;
    let file = daemon.path().join("token");
    fs::write(&file, token["secret"].as_str().context("a secret")?)?;
    let login = daemon.json(["open", "--print"])?;
    let (port, _) = login["url"]
        .as_str()
        .and_then(|url| url.split_once("/open"))
        .context("an address")?;
    let mut command = daemon.command();
    command
        .args(["--api", port, "log"])
        .env("CARDUME_TOKEN_FILE", &file);
    let denied = patience::output(command.stdin(Stdio::null()))?;
    ensure!(status(&denied) == 5, "{denied:?}");
    Ok(())
}
