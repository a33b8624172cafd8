//! The RPM, of the same tree.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Context;

use super::{
    Dist,
    files::{DIRECTORIES, FILES, MANUAL},
    sorted,
};
use crate::run;

impl Dist {
    /// Has `rpmbuild` make the package; none where there is no such program.
    pub(super) fn rpm(&self, glibc: &str) -> anyhow::Result<Option<PathBuf>> {
        if Command::new("rpmbuild").arg("--version").output().is_err() {
            return Ok(None);
        }
        let spec = fs::read_to_string(self.root.join("config/rpm.spec"))?
            .replace("@VERSION@", &self.version)
            .replace("@GLIBC@", glibc)
            .replace("@FILES@", &listed());
        let (path, top) = (self.output.join("cardume.spec"), self.output.join("rpm"));
        fs::write(&path, spec)?;
        run(Command::new("rpmbuild")
            .args(["-bb", "--quiet"])
            .env("SOURCE_DATE_EPOCH", &self.epoch)
            .arg(format!("--define=_topdir {}", top.display()))
            .arg(format!("--define=tree {}", self.tree.display()))
            .args([
                "--define=_buildhost cardume",
                "--define=use_source_date_epoch_as_buildtime 1",
            ])
            .args([
                "--define=clamp_mtime_to_source_date_epoch 1",
                "--define=_build_id_links none",
            ])
            .arg(&path))?;
        let built = sorted(&top.join("RPMS").join(std::env::consts::ARCH))?;
        let built = built.first().context("rpmbuild has left no package")?;
        let package = self
            .output
            .join(built.file_name().context("a package has a name")?);
        fs::rename(built, &package)?;
        fs::remove_dir_all(&top)?;
        fs::remove_file(&path)?;
        Ok(Some(package))
    }
}

/// The list of files as `%files` wants it.
fn listed() -> String {
    let directories = DIRECTORIES
        .iter()
        .map(|place| format!("%dir %attr(0755,root,root) {place}"));
    let files = FILES.iter().map(|entry| {
        let is_doc = entry.to.starts_with("/usr/share/doc/");
        let kind = if is_doc { "%doc " } else { "" };
        format!("{kind}%attr({:04o},root,root) {}", entry.mode, entry.to)
    });
    let pages = std::iter::once(format!("{MANUAL}/cardume*"));
    directories
        .chain(files)
        .chain(pages)
        .collect::<Vec<_>>()
        .join("\n")
}
