//! The Debian package: an `ar` archive of two tarballs (deb(5)), which needs no tool of Debian's to make.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use super::{Dist, output_of};
use crate::tree_size;

/// What dpkg calls the processors that Rust has names for.
fn architecture() -> anyhow::Result<&'static str> {
    Ok(match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "riscv64" => "riscv64",
        other => bail!("there is no Debian name for {other} here"),
    })
}

/// The newest version of the C library whose symbols a program asks for.
pub(super) fn glibc(program: &Path) -> anyhow::Result<String> {
    let mut grep = Command::new("grep");
    let names = output_of(
        grep.args(["--text", "--only-matching", "GLIBC_2[.][0-9]*"])
            .arg(program),
    )?;
    newest(&String::from_utf8_lossy(&names)).context("the program asks for no C library")
}

fn newest(names: &str) -> Option<String> {
    let minors = names
        .lines()
        .filter_map(|name| name.strip_prefix("GLIBC_2.")?.parse::<u32>().ok());
    Some(format!("2.{}", minors.max()?))
}

impl Dist {
    /// Makes the package beside the tarball.
    pub(super) fn deb(&self, glibc: &str) -> anyhow::Result<PathBuf> {
        let (architecture, version) = (architecture()?, format!("{}-1", self.version));
        let control = self.output.join("control");
        if control.exists() {
            fs::remove_dir_all(&control)?;
        }
        super::make_directories(&control, &control)?;
        let source = self.root.join("config/deb");
        let text = fs::read_to_string(source.join("control"))?
            .replace("@VERSION@", &version)
            .replace("@ARCH@", architecture)
            .replace("@SIZE@", &tree_size(&self.tree)?.div_ceil(1_024).to_string())
            .replace("@GLIBC@", glibc);
        let in_control = Dist {
            root: self.root.clone(),
            output: self.output.clone(),
            tree: control.clone(),
            version: self.version.clone(),
            epoch: self.epoch.clone(),
        };
        in_control.put("control", 0o644, text.as_bytes())?;
        for script in ["postinst", "prerm", "postrm"] {
            in_control.put(script, 0o755, &fs::read(source.join(script))?)?;
        }
        let parts = [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar.gz", self.part(&control, "control.tar.gz")?),
            ("data.tar.gz", self.part(&self.tree, "data.tar.gz")?),
        ];
        let path = self.output.join(format!("cardume_{version}_{architecture}.deb"));
        fs::write(&path, ar(&self.epoch, &parts)).with_context(|| path.display().to_string())?;
        fs::remove_dir_all(&control)?;
        Ok(path)
    }

    fn part(&self, directory: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.archive(directory, name, "./")?;
        let bytes = fs::read(&path)?;
        fs::remove_file(&path)?;
        Ok(bytes)
    }
}

/// An archive in the format of `ar`, each member root's and of one time.
fn ar(epoch: &str, members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        let head = format!(
            "{name:<16}{epoch:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0,
            0,
            "100644",
            bytes.len()
        );
        archive.extend_from_slice(head.as_bytes());
        archive.extend_from_slice(bytes);
        // Members begin at even places.
        archive.extend(std::iter::repeat_n(b'\n', bytes.len() % 2));
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_heads_of_sixty_bytes_and_begin_at_even_places() {
        let archive = ar("1700000000", &[("a", b"odd".to_vec()), ("b", b"even".to_vec())]);
        assert_eq!(archive.len(), 8 + 60 + 4 + 60 + 4);
        assert_eq!(&archive[8 + 58..8 + 60], b"`\n");
        assert_eq!(&archive[8 + 60 + 4..8 + 60 + 5], b"b");
    }

    #[test]
    fn the_newest_symbol_says_which_library_is_needed() {
        assert_eq!(
            newest("GLIBC_2.4\nGLIBC_2.34\nGLIBC_2.9\n").as_deref(),
            Some("2.34")
        );
        assert_eq!(newest("GLIBC_2.\n"), None);
    }
}
