//! Limits that count from a reload on.
use std::process::Stdio;

use cardume_testkit::{
    daemon::{error, status},
    files::random_file,
    patience,
};

use super::{
    start,
    tables::{QUIET, peer, reload},
};

#[test]
fn what_the_store_and_a_fetch_may_take_counts_from_a_reload_on() {
    let (giver, getter) = (start(QUIET), start(QUIET));
    random_file(&giver.path().join("film"), 3_000_000, 7).unwrap();
    let shared = giver.json(["share", "film"]).unwrap();
    let link = shared["link"].as_str().unwrap();
    let get = || {
        getter
            .run(["get", "--timeout", "1m", "--force", link, "-o", "film"])
            .unwrap()
    };

    reload(&getter, "[exchange]\nmax_total = \"1MiB\"\n");
    let refused = get();
    assert!(
        status(&refused) != 0 && error(&refused).contains("max_total"),
        "{}",
        error(&refused)
    );
    reload(&getter, "[store]\nkeep_free = \"1000TiB\"\n");
    let refused = get();
    assert!(
        status(&refused) != 0 && error(&refused).contains("store.keep_free"),
        "{}",
        error(&refused)
    );
    reload(&getter, "");
    let got = get();
    assert_eq!(status(&got), 0, "{}", error(&got));

    let copy = || giver.run(["share", "--copy", "film"]).unwrap();
    reload(&giver, "[store]\nquota = \"1MiB\"\n");
    let refused = copy();
    assert!(
        status(&refused) != 0 && error(&refused).contains("store.quota"),
        "{}",
        error(&refused)
    );
    reload(&giver, "[store]\nquota = \"1GiB\"\n");
    let copied = copy();
    assert_eq!(status(&copied), 0, "{}", error(&copied));
}

#[test]
fn a_topic_is_kept_for_peers_from_a_reload_on() {
    let (keeper, speaker) = (start(QUIET), start(QUIET));
    reload(&speaker, &peer("keeper", &keeper));
    reload(&keeper, "[topic.tea]\nhistory = 5\n");
    // Nobody reads it: the keeper is subscribed all the same.
    let said = speaker
        .run(["topic", "pub", "tea", "--wait", "1m", "it is ready"])
        .unwrap();
    assert_eq!(status(&said), 0, "{}", error(&said));

    let late = start(&format!("{QUIET}{}", peer("keeper", &keeper)));
    reload(
        &late,
        &format!("{}[topic.tea]\nhistory = 5\n", peer("keeper", &keeper)),
    );
    let reading = ["topic", "sub", "tea", "--history", "1", "--count", "1", "--raw"];
    let heard = late.run(reading).unwrap();
    assert_eq!(status(&heard), 0, "{}", error(&heard));
    assert_eq!(heard.stdout.trim_ascii(), b"it is ready");
}

#[test]
fn as_many_topics_are_read_as_a_reload_says() {
    let daemon = start(QUIET);
    reload(
        &daemon,
        "[gossipsub]\nmax_topics = 1\n[topic.first]\nhistory = 1\n",
    );
    patience::until("the first is read", || {
        // Nothing is printed before.
        let topic = daemon.json(["topic", "ls"]).unwrap_or_default();
        Ok(topic["topic"] == "first" && topic["subscribed"] == true)
    })
    .unwrap();
    let refused = daemon.run(["topic", "sub", "second"]).unwrap();
    assert!(
        status(&refused) != 0 && error(&refused).contains("gossipsub.max_topics"),
        "{}",
        error(&refused)
    );
    reload(
        &daemon,
        "[gossipsub]\nmax_topics = 2\n[topic.first]\nhistory = 1\n",
    );
    let mut reader = daemon
        .command()
        .args(["topic", "sub", "second", "--count", "1"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    patience::until("the second is read", || {
        Ok(status(&daemon.run(["topic", "pub", "second", "hello"])?) == 0)
    })
    .unwrap();
    assert!(reader.wait().unwrap().success());
}
