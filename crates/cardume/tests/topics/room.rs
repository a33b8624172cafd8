//! A room, and those who come later.

use cardume_testkit::patience;

use crate::{Running, home, hostile::thinks, topic};

/// Messages that are kept.
const KEPT: usize = 3;

#[test]
fn who_comes_later_sees_what_peers_of_the_room_still_have_and_asks_only_where_configuration_says_so() {
    let keeping = || home().set(format!("topic.tea.history={KEPT}"));
    let first = keeping().start().unwrap();
    let address = first.address(true).unwrap();
    let bootstrap = format!("connect.bootstrap=[{address:?}]");
    let author = home().set(&bootstrap).start().unwrap();
    let said = |number: usize| format!("cup {number}");
    for number in 0..KEPT + 2 {
        author
            .json(["topic", "pub", "tea", &said(number), "--wait", "1m"])
            .unwrap();
    }
    let from = author.peer_id().unwrap();
    patience::until("all to be heard", || {
        Ok(topic(&first, "tea").unwrap()["received"] == KEPT + 2)
    })
    .unwrap();
    // Who has said it is gone, and others have it.
    drop(author);

    let late = keeping().set(&bootstrap).start().unwrap();
    let next = first.peer_id().unwrap();
    let id = late.peer_id().unwrap();
    for (one, other) in [(&late, &next), (&first, &id)] {
        patience::until("the room", || Ok(thinks(one, "tea", other, |_| true))).unwrap();
    }
    let mut room = Running::new(late.command().args(["--json", "topic", "sub", "--chat", "tea"]));
    for number in 2..KEPT + 2 {
        let message = room.json();
        assert_eq!(
            (&message["text"], &message["from"]),
            (&said(number).into(), &from.as_str().into())
        );
    }
    // What is said from now on comes behind it, once.
    first.json(["topic", "pub", "tea", "is anybody here?"]).unwrap();
    assert_eq!(room.json()["text"], "is anybody here?");

    // Who keeps nothing asks nobody.
    let other = home().set(&bootstrap).start().unwrap();
    patience::until("the room", || Ok(thinks(&other, "tea", &next, |_| true))).unwrap();
    let mut read = Running::new(
        other
            .command()
            .args(["--json", "topic", "sub", "tea", "--history", "9"]),
    );
    patience::until("it to be there", || {
        Ok(thinks(&first, "tea", &other.peer_id()?, |row| {
            row["mesh"] == true
        }))
    })
    .unwrap();
    first.json(["topic", "pub", "tea", "good night"]).unwrap();
    assert_eq!(read.json()["text"], "good night");
}
