//! What is installed, and where: the one list that the tarball and the packages are made from.

/// Where the bytes of an installed file come from.
pub(crate) enum From {
    /// A file of the repository.
    Repository(&'static str),
    /// What the program prints when it is called so.
    Program(&'static [&'static str]),
    /// The program itself.
    Binary,
    /// The licences of everything that is linked into the program.
    Notices,
}

/// One installed file.
pub(crate) struct Entry {
    pub(crate) from: From,
    /// Absolute, where it is installed.
    pub(crate) to: &'static str,
    pub(crate) mode: u32,
}

const fn file(from: &'static str, to: &'static str) -> Entry {
    Entry {
        from: From::Repository(from),
        to,
        mode: 0o644,
    }
}

const fn printed(arguments: &'static [&'static str], to: &'static str) -> Entry {
    Entry {
        from: From::Program(arguments),
        to,
        mode: 0o644,
    }
}

/// Where the manual pages go, which the program writes by itself.
pub(crate) const MANUAL: &str = "/usr/share/man/man1";

/// Directories that are installed empty.
pub(crate) const DIRECTORIES: &[&str] = &["/etc/cardume", "/etc/cardume/conf.d"];

/// Every file besides the manual pages.
///
/// There is no /etc/cardume/cardume.toml among them: without one a node works, and a file that every version
/// changes and every operator edits is asked about in every upgrade.
pub(crate) const FILES: &[Entry] = &[
    Entry {
        from: From::Binary,
        to: "/usr/bin/cardume",
        mode: 0o755,
    },
    file(
        "config/systemd/cardume.service",
        "/usr/lib/systemd/system/cardume.service",
    ),
    file(
        "config/systemd/cardume.socket",
        "/usr/lib/systemd/system/cardume.socket",
    ),
    file(
        "config/systemd/cardume.sysusers",
        "/usr/lib/sysusers.d/cardume.conf",
    ),
    printed(
        &["completions", "bash"],
        "/usr/share/bash-completion/completions/cardume",
    ),
    printed(
        &["completions", "fish"],
        "/usr/share/fish/vendor_completions.d/cardume.fish",
    ),
    printed(&["completions", "zsh"], "/usr/share/zsh/site-functions/_cardume"),
    // Debian's zsh looks here instead.
    printed(
        &["completions", "zsh"],
        "/usr/share/zsh/vendor-completions/_cardume",
    ),
    printed(&["config", "schema"], "/usr/share/cardume/config.schema.json"),
    file(
        "config/cardume.toml",
        "/usr/share/doc/cardume/examples/cardume.toml",
    ),
    file(
        "config/systemd/examples/paths.conf",
        "/usr/share/doc/cardume/examples/paths.conf",
    ),
    file(
        "config/systemd/examples/identity-credential.conf",
        "/usr/share/doc/cardume/examples/identity-credential.conf",
    ),
    file("README.md", "/usr/share/doc/cardume/README.md"),
    file("CHANGELOG.md", "/usr/share/doc/cardume/CHANGELOG.md"),
    file("docs/operations.md", "/usr/share/doc/cardume/operations.md"),
    file("LICENSE-MIT", "/usr/share/doc/cardume/LICENSE-MIT"),
    file("LICENSE-APACHE", "/usr/share/doc/cardume/LICENSE-APACHE"),
    Entry {
        from: From::Notices,
        to: "/usr/share/doc/cardume/copyright",
        mode: 0o644,
    },
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    #[test]
    fn every_file_is_there_and_installed_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut places = BTreeSet::new();
        for entry in FILES {
            assert!(
                entry.to.starts_with('/') && places.insert(entry.to),
                "{}",
                entry.to
            );
            if let From::Repository(path) = entry.from {
                assert!(root.join(path).is_file(), "{path}");
            }
        }
    }
}
