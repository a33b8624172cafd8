//! Consumers that are too slow, or gone, and what becomes of the others.
use std::{fs, net::TcpListener, path::Path, sync::Arc, time::Duration};

use cardume_gossipsub::MessageId;
use libp2p_identity::PeerId;
use tokio::task::JoinSet;

use super::*;
use crate::{
    Exec, Received, Spool, Start, Webhook,
    ring::{MAX_MESSAGES, Ring},
};

fn message(number: usize) -> Received {
    Received {
        topic: "t".into(),
        from: PeerId::random(),
        id: MessageId::new(&(number as u64).to_be_bytes()),
        data: format!("message {number}").into(),
        cid: None,
    }
}

/// Runs a delivery of what comes into a ring, until the set is dropped.
fn start(deliver: Deliver, ring: &Arc<Ring>) -> (Arc<Tally>, JoinSet<()>) {
    let mut all = Deliverer::of("t", &deliver, "test").unwrap();
    let one = all.pop().unwrap();
    let tally = one.tally.clone();
    let mut tasks = JoinSet::new();
    let reader = ring.reader(Start::Now);
    tasks.spawn(async move { one.run(reader).await });
    (tally, tasks)
}

async fn until(tally: &Tally, done: impl Fn(&DeliveryStatus) -> bool) -> DeliveryStatus {
    let waiting = async {
        while !done(&tally.status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "{:?}", tally.status());
    tally.status()
}

fn exec(script: &str, timeout: Duration) -> Deliver {
    Deliver {
        exec: Some(Exec {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            timeout: timeout.into(),
            concurrency: 1,
        }),
        ..Deliver::default()
    }
}

fn spool(directory: &Path, quota: u64) -> Deliver {
    Deliver {
        spool: Some(Spool {
            directory: directory.to_owned(),
            quota: cardume_units::Size(quota),
        }),
        ..Deliver::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_hangs_is_killed_and_what_it_missed_is_counted_and_a_spool_beside_it_has_all() {
    let (ring, dir) = (Arc::new(Ring::new()), tempfile::tempdir().unwrap());
    let pid = dir.path().join("pid");
    fs::create_dir(dir.path().join("spool")).unwrap();
    let script = format!(
        "test -e {0} || {{ sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; }}; kill -STOP $$",
        pid.display()
    );
    let (hanging, _hanging) = start(exec(&script, Duration::from_secs(2)), &ring);
    let (spooled, _spooled) = start(spool(&dir.path().join("spool"), 1 << 30), &ring);
    ring.push(message(0));
    until(&spooled, |status| status.delivered == 1).await;
    while !pid.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // While the command does nothing, more comes than is kept, and the other takes it in turn.
    for chunk in 0..MAX_MESSAGES as u64 / 64 + 1 {
        (0..64).for_each(|_| ring.push(message(1)));
        until(&spooled, |status| status.delivered == 1 + (chunk + 1) * 64).await;
    }
    let status = until(&hanging, |status| status.lost > 0).await;
    assert!(status.failed >= 1 && status.delivered == 0, "{status:?}");
    assert_eq!(spooled.status().lost, 0);
    // What the first run started is killed too. A kill takes its time; a zombie is one that nobody has waited for.
    let child = fs::read_to_string(pid).unwrap();
    let state = || fs::read_to_string(format!("/proc/{}/stat", child.trim()));
    let gone = async {
        while state().is_ok_and(|state| !state.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_costs_its_own_messages_and_no_others() {
    // Connections are made, and nobody takes them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ring = Arc::new(Ring::new());
    let webhook = Webhook {
        url: format!("http://{}/", listener.local_addr().unwrap()),
        secret_file: None,
        ca_file: None,
        timeout: Duration::from_millis(50).into(),
        attempts: 1,
    };
    let silent = Deliver {
        webhook: Some(webhook),
        ..Deliver::default()
    };
    let (silent, _silent) = start(silent, &ring);
    let (heard, _heard) = start(exec("cat > /dev/null", Duration::from_secs(60)), &ring);
    (0..3).for_each(|number| ring.push(message(number)));
    until(&heard, |status| status.delivered == 3).await;
    let status = until(&silent, |status| status.failed == 3).await;
    assert!(status.problem.unwrap().contains("no answer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_is_full_goes_on_when_files_are_taken_away_and_partial_ones_are_swept() {
    let (ring, dir) = (Arc::new(Ring::new()), tempfile::tempdir().unwrap());
    let left = dir.path().join(".partial-of-before");
    fs::write(&left, "half").unwrap();
    let (tally, _tally) = start(spool(dir.path(), 20), &ring);
    (0..3).for_each(|number| ring.push(message(number)));
    let status = until(&tally, |status| status.problem.is_some()).await;
    assert_eq!(status.delivered, 2);
    assert!(!left.exists());
    let names = || {
        let names = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let texts: Vec<_> = names()
        .iter()
        .map(|name| fs::read_to_string(name).unwrap())
        .collect();
    assert_eq!(texts, ["message 0", "message 1"]);
    names().iter().for_each(|name| fs::remove_file(name).unwrap());
    until(&tally, |status| status.delivered == 3).await;
}
