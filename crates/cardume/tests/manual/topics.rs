//! What the handbook shows of topics, on as many hosts as it shows.
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use cardume_testkit::{
    daemon::{Daemon, Home, error},
    patience,
};
use rustix::process::{Pid, Signal};

use super::{OPERATIONS, shell};

/// Daemons by what the handbook calls their hosts.
type Hosts = BTreeMap<&'static str, Daemon>;

/// A session of the handbook, by the command that it begins with.
fn session(first: &str) -> impl Iterator<Item = &'static str> {
    let blocks = OPERATIONS.split("```console\n").skip(1);
    let mut blocks = blocks.filter_map(|block| block.split("```").next());
    blocks.find(|block| block.starts_with(first)).unwrap().lines()
}

/// Starts a daemon on each host, with a setting; the last is connected to all the others, and knows their names.
fn start(all: &[(&'static str, Option<&str>)]) -> Hosts {
    let mut hosts = Hosts::new();
    for (number, (name, setting)) in all.iter().enumerate() {
        let home = Home::new(env!("CARGO_BIN_EXE_cardume")).unwrap();
        let mut home = setting.iter().fold(home, |home, setting| home.set(*setting));
        let others = if number + 1 == all.len() {
            Some(&hosts)
        } else {
            None
        };
        for (other, daemon) in others.into_iter().flatten() {
            let (id, address) = (daemon.peer_id().unwrap(), daemon.address(true).unwrap());
            home = home
                .set(format!("peer.{other}.id={id:?}"))
                .set(format!("peer.{other}.addresses=[{address:?}]"))
                .set(format!("peer.{other}.keep=true"));
        }
        hosts.insert(name, home.start().unwrap());
    }
    hosts
}

/// Waits until one of two hosts knows that the other one reads a topic.
fn reads(hosts: &Hosts, knows: &str, reader: &str, topic: &str) {
    let id = hosts[reader].peer_id().unwrap();
    patience::until("a reader to be known", || {
        let peers = hosts[knows].run(["topic", "peers", topic])?;
        Ok(String::from_utf8(peers.stdout)?.contains(&id))
    })
    .unwrap();
}

/// A line of a shell that goes on; ended with all that it has started when dropped.
struct Running {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Running {
    fn new(daemon: &Daemon, line: &str) -> Self {
        let mut command = shell(daemon, &format!("exec 2>&1; {line}"));
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (said, lines) = (
            Arc::default(),
            BufReader::new(child.stdout.take().unwrap()).lines(),
        );
        let running = Self { child, said };
        let said = running.said.clone();
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| said.lock().unwrap().push(line))
        });
        running
    }

    /// Waits until it has said so much, and tells what the last of it is.
    fn line(&self, number: usize) -> String {
        let mut line = None;
        let waited = patience::until("a line", || {
            line = self.said.lock().unwrap().get(number).cloned();
            Ok(line.is_some())
        });
        assert!(waited.is_ok(), "it has said {:?}", self.said.lock().unwrap());
        line.unwrap()
    }

    /// Waits until it has said something with this at its end.
    fn hears(&self, text: &str) {
        patience::until(text, || {
            let said = self.said.lock().unwrap();
            Ok(said.iter().any(|line| line.ends_with(text)))
        })
        .unwrap();
    }

    fn types(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A log that goes on. Its lines are long, for what is at the end of a pipe says them by the page.
fn journal(daemon: &Daemon) {
    let program = daemon.path().join("journalctl");
    let line = "the sun is up ".repeat(40);
    fs::write(
        &program,
        format!("#!/bin/sh\nwhile echo '{line}'; do sleep 0.1; done\n"),
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn topics_go_between_two_hosts_as_the_handbook_shows() {
    let hosts = start(&[("attic", None), ("den", None)]);
    journal(&hosts["attic"]);
    let has_jq = Path::new("/usr/bin/jq").exists();
    let from = hosts["attic"].peer_id().unwrap();
    let mut readers = BTreeMap::new();
    let mut writers = Vec::new();
    let mut commands = 0;
    for line in session("den$ cardume topic sub news") {
        let (host, command) = line.split_once("$ ").unwrap();
        if command.contains("jq") && !has_jq {
            eprintln!("SKIPPED: {command}: jq is not installed");
            continue;
        }
        commands += 1;
        let words: Vec<_> = command
            .split(['|', '#'])
            .flat_map(|part| part.split(' '))
            .collect();
        let after = |word: &str| words.iter().skip_while(|one| **one != word).nth(1).copied();
        if let Some(topic) = after("sub") {
            readers.insert(topic, Running::new(&hosts[host], command));
            let other = hosts.keys().find(|other| **other != host).unwrap();
            reads(&hosts, other, host, topic);
        } else if let Some(topic) = after("--lines") {
            let Some(reader) = readers.get(topic) else {
                continue;
            };
            let line = format!("PATH=.:$PATH; {command}");
            writers.push(Running::new(&hosts[host], &line));
            assert!(reader.line(0).starts_with(&format!("{from}\tthe sun is up")));
        } else {
            let output = patience::output(&mut shell(&hosts[host], command)).unwrap();
            assert!(output.status.success(), "{line}: {}", error(&output));
            let told = String::from_utf8(output.stdout).unwrap();
            if let Some(topic) = after("pub") {
                let (_, text) = command.split_once(topic).unwrap();
                let text = text.trim().trim_matches('\'');
                assert_eq!(readers[topic].line(0), format!("{from}\t{text}"));
            } else if let Some(topic) = after("peers") {
                let reader = hosts.keys().find(|other| **other != host).unwrap();
                assert!(
                    told.contains(&hosts[reader].peer_id().unwrap()),
                    "{topic}: {told}"
                );
            } else {
                assert!(readers.keys().all(|topic| told.contains(topic)), "{told}");
            }
        }
    }
    assert!(commands >= 4, "the session has been found");
}

#[test]
fn a_room_is_as_the_handbook_shows() {
    // Those that are always on keep what was said.
    let keeps = Some("topic.tea.history=20");
    let hosts = start(&[("attic", keeps), ("kitchen", None), ("den", keeps)]);
    let spoken = |line: &'static str| line.split_once(": ").filter(|(name, _)| hosts.contains_key(name));
    let say = |(host, text): (&str, &str)| {
        hosts[host]
            .json(["topic", "pub", "tea", text, "--wait", "1m"])
            .unwrap();
    };
    let mut lines = session("den$ cardume topic sub --chat");
    let (host, command) = lines.next().unwrap().split_once("$ ").unwrap();
    let lines: Vec<_> = lines.collect();
    for (knows, reader) in [("attic", "den"), ("den", "attic")] {
        reads(&hosts, knows, reader, "tea");
    }
    let attic = Running::new(&hosts["attic"], "cardume topic sub tea");
    let before = lines.iter().find_map(|line| spoken(line)).unwrap();
    say(before);
    let kept = ["topic", "sub", "tea", "--history", "1", "--count", "1"];
    assert!(hosts[host].run(kept).unwrap().status.success());

    let mut room = Running::new(&hosts[host], command);
    let mut guests = Vec::new();
    let mut told = 0;
    for line in lines {
        if let Some(words) = spoken(line) {
            if words != before {
                say(words);
            }
        } else if let Some(guest) = line.strip_suffix(" is here") {
            guests.push(Running::new(&hosts[guest], command));
        } else if !line.starts_with("here: ") {
            room.types(line);
            attic.hears(line);
            continue;
        }
        assert_eq!(room.line(told), line);
        told += 1;
    }
    assert!(told >= 4 && guests.len() == 1, "the session has been found");
}
