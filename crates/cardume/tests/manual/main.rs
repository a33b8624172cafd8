//! The sessions in README.md and in the handbook, as real commands and real daemons have them.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

mod topics;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use cardume_testkit::{
    daemon::{Daemon, Home, error},
    files::random_file,
    patience,
};

const README: &str = include_str!("../../../../README.md");
const OPERATIONS: &str = include_str!("../../../../docs/operations.md");

/// What is said of a text that differs from run to run: ids and numbers have a kind, all else is itself.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let end = word.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        let word = &word[..word.len() - end.len()];
        shape += match word {
            cid if cid.starts_with("bafkr4i") => "FILE",
            cid if cid.starts_with("bafyr4i") => "DIRECTORY",
            peer if peer.starts_with("12D3KooW") => "PEER",
            channel if channel.starts_with("k51qzi5uqu5d") => "CHANNEL",
            number if !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()) => "N",
            "KiB" | "GiB" => "MiB",
            word => word,
        };
        shape += end;
    }
    // A decimal fraction is one number.
    shape.replace("N.N", "N")
}

/// Whether a line is as the manual has it, where `…` stands for the rest.
fn is_as(told: &str, manual: &str) -> bool {
    match manual.split_once('…') {
        Some((begin, _)) => shape(told).starts_with(&shape(begin)),
        // Keys are in an alphabet that has more than letters and digits.
        None if manual.starts_with("ed25519:") => told.starts_with("ed25519:") && told.len() == manual.len(),
        None => shape(told) == shape(manual),
    }
}

#[test]
fn the_session_of_the_readme_is_true() {
    let session = README.split("A real session").nth(1).unwrap();
    let session = session.split("```console\n").nth(1).unwrap();
    let session = session.split("```").next().unwrap();
    let mut daemons = BTreeMap::<&str, Daemon>::new();
    // What the manual calls something, and what it is here.
    let mut ids = BTreeMap::<String, String>::new();
    let mut links = Vec::<String>::new();
    let mut lines = session.lines().filter(|line| !line.is_empty()).peekable();
    let mut commands = 0;
    while let Some(line) = lines.next() {
        let (host, command) = line.split_once("$ cardume ").unwrap();
        if command == "daemon &" {
            // The first host has what is shared.
            let home = Home::new(env!("CARGO_BIN_EXE_cardume")).unwrap();
            if daemons.is_empty() {
                prepare(&home);
            }
            daemons.insert(host, home.start().unwrap());
            continue;
        }
        let daemon = &daemons[host];
        let arguments = command.split(' ').map(|word| given(word, &ids, &links));
        let output = daemon.run(arguments).unwrap();
        assert!(output.status.success(), "{line}: {}", error(&output));
        let told = String::from_utf8(output.stdout.clone()).unwrap() + &error(&output);
        let told = told.replace(daemon.path().to_str().unwrap(), &format!("/tmp/{host}"));
        let mut told = told.lines();
        while let Some(manual) = lines.next_if(|line| !line.contains("$ cardume ")) {
            let told = told.next().unwrap_or_default();
            assert!(is_as(told, manual), "{line}\nhas told {told}\nand not   {manual}");
            if told.starts_with("cardume:") {
                links.push(told.to_owned());
            } else if told.starts_with("baf") {
                ids.insert(manual.to_owned(), told.to_owned());
            }
        }
        assert_eq!(told.next(), None, "{line} tells more");
        commands += 1;
    }
    assert!(commands >= 4, "the session has been found");
}

#[test]
fn the_plan_in_the_handbook_is_true() {
    let block = OPERATIONS.split("\n## Reload\n").nth(1).unwrap();
    let block = block.split("```console\n$ cardume ").nth(1).unwrap();
    let (command, plan) = block.split("```").next().unwrap().split_once('\n').unwrap();
    let home = Home::new(env!("CARGO_BIN_EXE_cardume")).unwrap();
    let config = home.path().join("cardume.toml");
    fs::write(&config, "[rates]\nupload = \"1MB/s\"\n").unwrap();
    let daemon = home.config(&config).start().unwrap();
    let changed = "[rates]\nupload = \"2MB/s\"\n[store]\nin_place = false\n";
    fs::write(&config, changed).unwrap();
    let output = daemon.run(command.split(' ')).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), plan);
}

#[test]
fn the_commands_of_the_handbook_do_what_it_says() {
    let home = Home::new(env!("CARGO_BIN_EXE_cardume")).unwrap();
    fs::create_dir(home.path().join("build")).unwrap();
    fs::write(home.path().join("build/app"), "version 2.1").unwrap();
    let daemon = home.start().unwrap();
    let id = daemon.peer_id().unwrap();
    let blocks = OPERATIONS.split("```console\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    let mut commands = 0;
    // Sessions of two hosts are run elsewhere, and what the system is told is not a command of ours.
    for block in blocks.filter(|block| block.starts_with("$ cardume ") && !block.contains("config plan")) {
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("$ ").unwrap().replace("12D3Koo…", &id);
            let output = patience::output(&mut shell(&daemon, &command)).unwrap();
            assert!(output.status.success(), "{line}: {}", error(&output));
            let told = String::from_utf8(output.stdout).unwrap();
            let mut told = told.lines();
            while let Some(manual) = lines.next_if(|line| !line.starts_with("$ ")) {
                let told = told.next().unwrap_or_default();
                assert!(is_as(told, manual), "{line}\nhas told {told}\nand not   {manual}");
            }
            commands += 1;
        }
    }
    assert!(commands >= 9, "the commands have been found");
    assert!(daemon.path().join("revocations").exists());
}

/// A line of a shell in which `cardume` is the program, on the host of a daemon.
fn shell(daemon: &Daemon, line: &str) -> Command {
    let own = daemon.command();
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(line).env_clear();
    for (name, value) in own.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        shell.env(name, value);
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_cardume")).parent().unwrap();
    shell.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    shell.current_dir(daemon.path());
    shell
}

/// What a word of a command means here.
fn given(word: &str, ids: &BTreeMap<String, String>, links: &[String]) -> String {
    let word = word.trim_matches('\'');
    if let Some(rest) = word.strip_prefix("cardume:") {
        let id = &ids[rest.split('?').next().unwrap()];
        return links.iter().find(|link| link.contains(id)).unwrap().clone();
    }
    ids.get(word).cloned().unwrap_or_else(|| word.to_owned())
}

/// Makes the files of the session.
fn prepare(home: &Home) {
    fs::create_dir(home.path().join("photos")).unwrap();
    random_file(&home.path().join("debian.iso"), 48 << 20, 1).unwrap();
    random_file(&home.path().join("photos/beach.jpg"), 8 << 20, 2).unwrap();
}
