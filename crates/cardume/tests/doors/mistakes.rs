//! What only a start finds out: each ends with 78, the place of the key, and what to do.
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use cardume_testkit::{
    daemon::{error, status},
    patience,
};

use crate::home;

/// A key, its value (`@` stands for the test's own directory), and what is said.
const MISTAKES: [(&str, &str, &str); 9] = [
    (
        "node.data_dir",
        "/proc/none",
        "node.data_dir: /proc/none cannot be used: ",
    ),
    ("node.data_dir", "@/file", "cannot be used: File exists"),
    ("identity.key_file", "@/open.key", "chmod 600"),
    ("identity.key_file", "@/file", "is not a libp2p private key"),
    (
        "identity.key_file",
        "credential:none",
        "identity.key_file: there is no $CREDENTIALS_DIRECTORY",
    ),
    (
        "control.group",
        "no-such-group",
        "there is no group \"no-such-group\"",
    ),
    (
        "control.listen",
        "unix:@/file",
        "is there already and is no socket",
    ),
    ("control.listen", "unix:/proc/none/s", "/proc/none: No such file"),
    (
        "control.listen",
        "unix:/tmp/s",
        "put the socket into a directory of its own",
    ),
];

fn prepare(directory: &Path) {
    fs::write(directory.join("file"), "precious").unwrap();
    fs::set_permissions(directory.join("file"), fs::Permissions::from_mode(0o600)).unwrap();
    let key = home()
        .run(["key", "gen", directory.join("open.key").to_str().unwrap()])
        .unwrap();
    assert!(key.status.success());
    fs::set_permissions(directory.join("open.key"), fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn what_a_start_finds_out_is_told_with_its_place() {
    let home = home();
    prepare(home.path());
    let config = home.path().join("c.toml");
    for (key, value, told) in MISTAKES {
        let value = value.replace('@', home.path().to_str().unwrap());
        fs::write(&config, format!("# a comment\n{key} = {value:?}\n")).unwrap();
        let mut command = home.alone();
        command.arg("--config").arg(&config).arg("daemon");
        if key != "node.data_dir" {
            command.args(["--data-dir", "data"]);
        }
        let output = patience::output(&mut command).unwrap();
        assert_eq!(status(&output), 78, "{key} = {value}: {}", error(&output));
        let said = error(&output);
        assert!(said.contains(told), "{key} = {value}: {said}");
        assert!(said.contains("c.toml:2:"), "{key} = {value}: {said}");
    }
    assert_eq!(fs::read(home.path().join("file")).unwrap(), b"precious");
}
