//! The key, and the directories of the node.
use std::{
    fs::{self, Metadata},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use cardume_node::identity;

use super::{Finding, Patient};
use crate::text::size;

/// Room without which a node soon cannot even write down what it has.
const LITTLE: u64 = 64 << 20;

pub(super) fn look(patient: &Patient) -> Vec<Finding> {
    let mut findings = vec![key(&patient.key_file)];
    findings.extend(directory(&patient.data_dir));
    findings.push(disk(patient));
    findings
}

fn key(path: &Path) -> Finding {
    match identity::load(path) {
        Ok(key) => Finding::ok(
            "key",
            format!("{} is {}", path.display(), key.public().to_peer_id()),
        ),
        Err(identity::KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Finding::note("key", format!("{} is made at the first start", path.display()))
        }
        Err(error) => {
            let remedy = match &error {
                identity::KeyError::Exposed { .. } => format!("chmod 600 {}", path.display()),
                identity::KeyError::Owner { user, .. } => {
                    format!(
                        "chown {user} {}, or run this as the daemon's user",
                        path.display()
                    )
                }
                _ => "restore the key from a backup, or move it away for a new identity".into(),
            };
            Finding::wrong("key", error.to_string(), remedy)
        }
    }
}

fn directory(path: &Path) -> Vec<Finding> {
    let shown = path.display();
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return vec![Finding::note(
                "data dir",
                format!("{shown} is made at the first start"),
            )];
        }
        Err(error) => {
            let remedy = format!("make {shown} readable for the node's user");
            return vec![Finding::wrong("data dir", format!("{shown}: {error}"), remedy)];
        }
    };
    let mut findings = Vec::new();
    if !found.is_dir() {
        let remedy = "set node.data_dir to a directory";
        findings.push(Finding::wrong(
            "data dir",
            format!("{shown} is no directory"),
            remedy,
        ));
    } else if is_open(&found) {
        let what = format!(
            "{shown} has mode {:04o}: others can replace the key",
            found.mode() & 0o7777
        );
        findings.push(Finding::wrong("data dir", what, format!("chmod go-w {shown}")));
    } else if let Err(error) = write_something(path) {
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on its disk".to_owned(),
            io::ErrorKind::ReadOnlyFilesystem => format!("remount the file system of {shown} for writing"),
            _ => format!("give {shown} to the node's user"),
        };
        findings.push(Finding::wrong(
            "data dir",
            format!("{shown} cannot be written: {error}"),
            remedy,
        ));
    } else {
        findings.push(Finding::ok("data dir", format!("{shown} can be written")));
    }
    findings
}

fn is_open(found: &Metadata) -> bool {
    found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0
}

/// Writes and removes a file that no other program sees.
fn write_something(path: &Path) -> io::Result<()> {
    let mut file = tempfile::tempfile_in(path)?;
    file.write_all(&[0; 4096])?;
    file.sync_all()
}

fn disk(patient: &Patient) -> Finding {
    let existing = patient.data_dir.ancestors().find(|path| path.exists());
    let Some(room) = existing.and_then(|path| rustix::fs::statvfs(path).ok()) else {
        return Finding::note("disk", "how much room there is cannot be told");
    };
    let (free, all) = (room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize);
    let keep = patient.config.store.keep_free.map_or(0, cardume_units::Size::get);
    let what = format!(
        "{} of {} free at {}",
        size(free),
        size(all),
        patient.data_dir.display()
    );
    if free < LITTLE.min(all / 20) || (keep > 0 && free < keep) {
        let remedy =
            "make room: `cardume file du` tells what is large, `cardume file rm` and `gc` give it back";
        return Finding::wrong("disk", format!("the disk is full: {what}"), remedy);
    }
    if room.f_files > 0 && room.f_favail == 0 {
        let remedy = "delete files, or make the file system anew with more inodes";
        return Finding::wrong(
            "disk",
            format!("no inodes are left at {}", patient.data_dir.display()),
            remedy,
        );
    }
    Finding::ok("disk", what)
}
