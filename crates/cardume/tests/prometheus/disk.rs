//! A disk that runs full, and then fails.
use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use cardume_testkit::patience;
use tempfile::TempDir;

use super::{Place, Prometheus, Takes};

/// Bytes of the disk.
const SIZE: u64 = 96 << 20;
/// Bytes that somebody else puts there: less than `store.keep_free` is left, and much more than that without them.
const BALLAST: usize = 56 << 20;

/// A file system of its own, in a file; gone when dropped.
struct Disk {
    directory: TempDir,
}

impl Disk {
    /// Makes one; none where that is not allowed, or the programs for it are missing.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let disk = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(disk.path()).unwrap();
        fs::File::create(disk.image()).unwrap().set_len(SIZE).unwrap();
        // All of it is for everybody, as far as there is anything.
        let made = system("mkfs.ext4", &["-q", "-m", "0"], &[&disk.image()]).ok()?;
        (made.status.success() && disk.mount().ok()?.status.success()).then_some(disk)
    }

    /// What is on it.
    fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn mount(&self) -> anyhow::Result<Output> {
        system("mount", &["-o", "loop"], &[&self.image(), &self.path()])
    }

    /// From now on the kernel writes nothing to it any more, as after an error of the disk.
    fn fail(&self) {
        let failed = system("mount", &["-o", "remount,abort"], &[&self.path()]).unwrap();
        assert!(failed.status.success(), "{failed:?}");
    }

    /// Takes it out, checks it and puts it back.
    fn mend(&self) {
        let out = system("umount", &[], &[&self.path()]).unwrap();
        assert!(out.status.success(), "{out:?}");
        let checked = system("fsck.ext4", &["-p"], &[&self.image()]).unwrap();
        // 1: there were errors, and they are gone.
        assert!(matches!(checked.status.code(), Some(0 | 1)), "{checked:?}");
        let mounted = self.mount().unwrap();
        assert!(mounted.status.success(), "{mounted:?}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = system("umount", &["--lazy"], &[&self.path()]);
    }
}

/// Runs a program of the system.
fn system(program: &str, options: &[&str], paths: &[&Path]) -> anyhow::Result<Output> {
    let mut command = Command::new(program);
    patience::output(command.args(options).args(paths).stdin(Stdio::null()))
}

/// Somebody else fills the disk of a store and makes room again; then it fails, is mended, and the node started anew.
pub(crate) fn runs_full_and_fails(prometheus: &Prometheus, place: Place) -> Result<(), Takes> {
    let disk = Disk::new().ok_or("root, loop devices and e2fsprogs")?;
    let home = place.home("[store]\nkeep_free = \"32MiB\"\n");
    let data = disk.path().join("data");
    fs::create_dir(&data).unwrap();
    symlink(&data, home.path().join("data")).unwrap();
    let node = home.start().unwrap();

    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; BALLAST]).unwrap();
    prometheus.fire(place.scraped, &["CardumeDiskLow"]);
    fs::remove_file(&ballast).unwrap();
    prometheus.stop(place.scraped, &["CardumeDiskLow"]);

    disk.fail();
    let written = fs::write(&ballast, "");
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    fs::write(node.path().join("note"), "for the store").unwrap();
    let refused = node.run(["share", "--copy", "note"]).unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    prometheus.fire(place.scraped, &["CardumeStoreReadOnly"]);

    let home = node.kill().unwrap();
    disk.mend();
    let node = home.start().unwrap();
    prometheus.see("cardume_store_read_only", place.scraped, |value| value == 0.0);
    prometheus.stop(place.scraped, &["CardumeStoreReadOnly", "CardumeDiskLow"]);
    node.json(["share", "--copy", "note"]).unwrap();
    Ok(())
}
