//! Where configuration, state and socket have their places.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The environment as this program sees it: read once, handed on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    pub(crate) variables: BTreeMap<String, String>,
    /// Whether the program runs as root.
    pub(crate) root: bool,
}

impl Environment {
    /// Takes the process's own. Variables that are not UTF-8 are none of ours.
    pub(crate) fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            variables,
            root: rustix::process::geteuid().is_root(),
        }
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A variable that holds an absolute path; the XDG specification says to ignore others.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        // systemd gives several directories divided by colons; the first is ours.
        let first = self.get(name)?.split(':').next()?;
        Some(PathBuf::from(first)).filter(|path| path.is_absolute())
    }

    fn home(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        self.path(variable)
            .or_else(|| Some(self.path("HOME")?.join(below_home)))
    }

    /// Whether systemd, or another init, runs this for the whole machine.
    fn is_system(&self) -> bool {
        let state = self.path("STATE_DIRECTORY");
        self.root || state.is_some_and(|path| path.starts_with("/var/lib"))
    }

    /// The file to read, and whether somebody named it: then it must be there.
    pub(crate) fn config_file(&self, option: Option<&Path>) -> (PathBuf, bool) {
        const FILE: &str = "cardume/cardume.toml";
        if let Some(path) = option {
            return (path.to_path_buf(), true);
        }
        if let Some(path) = self.get("CARDUME_CONFIG") {
            return (path.into(), true);
        }
        let user = self
            .home("XDG_CONFIG_HOME", ".config")
            .filter(|_| !self.is_system());
        (user.unwrap_or_else(|| "/etc".into()).join(FILE), false)
    }

    /// Where state lives unless configured.
    pub(crate) fn data_dir(&self) -> PathBuf {
        if let Some(path) = self.path("STATE_DIRECTORY") {
            return path;
        }
        let user = self
            .home("XDG_DATA_HOME", ".local/share")
            .filter(|_| !self.root || self.path("XDG_DATA_HOME").is_some());
        user.unwrap_or_else(|| "/var/lib".into()).join("cardume")
    }

    /// Where the control socket is unless configured; none: in the data directory.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        let system = self
            .path("RUNTIME_DIRECTORY")
            .map(|path| path.join("cardume.sock"));
        system.or_else(|| Some(self.path("XDG_RUNTIME_DIR")?.join("cardume/cardume.sock")))
    }

    /// Where what can be fetched again may be kept.
    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.home("XDG_CACHE_HOME", ".cache")
            .unwrap_or_else(std::env::temp_dir)
            .join("cardume")
    }
}

/// Drop-ins of `directory` in name order; a missing directory has none.
pub(crate) fn drop_ins(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "toml") && !hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(root: bool, variables: &[(&str, &str)]) -> Environment {
        let variables = variables
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        Environment { variables, root }
    }

    #[test]
    fn the_option_beats_the_variable_beats_the_default_file() {
        let user = environment(false, &[("HOME", "/home/ana"), ("CARDUME_CONFIG", "/a.toml")]);
        assert_eq!(
            user.config_file(Some(Path::new("b.toml"))),
            ("b.toml".into(), true)
        );
        assert_eq!(user.config_file(None), ("/a.toml".into(), true));
        let user = environment(false, &[("HOME", "/home/ana")]);
        assert_eq!(
            user.config_file(None),
            ("/home/ana/.config/cardume/cardume.toml".into(), false)
        );
    }

    #[test]
    fn root_and_system_services_read_etc() {
        let etc = PathBuf::from("/etc/cardume/cardume.toml");
        assert_eq!(environment(true, &[("HOME", "/root")]).config_file(None).0, etc);
        let service = environment(
            false,
            &[("STATE_DIRECTORY", "/var/lib/cardume"), ("HOME", "/nowhere")],
        );
        assert_eq!(service.config_file(None).0, etc);
    }

    #[test]
    fn state_and_socket_follow_systemd_before_xdg() {
        let service = environment(
            false,
            &[
                ("STATE_DIRECTORY", "/var/lib/cardume:/var/lib/other"),
                ("RUNTIME_DIRECTORY", "/run/cardume"),
                ("XDG_DATA_HOME", "/x"),
                ("XDG_RUNTIME_DIR", "/run/user/1"),
            ],
        );
        assert_eq!(service.data_dir(), PathBuf::from("/var/lib/cardume"));
        assert_eq!(service.socket(), Some("/run/cardume/cardume.sock".into()));
        let user = environment(
            false,
            &[("XDG_DATA_HOME", "/x"), ("XDG_RUNTIME_DIR", "/run/user/1")],
        );
        assert_eq!(user.data_dir(), PathBuf::from("/x/cardume"));
        assert_eq!(user.socket(), Some("/run/user/1/cardume/cardume.sock".into()));
        let bare = environment(false, &[("HOME", "/home/ana")]);
        assert_eq!(bare.data_dir(), PathBuf::from("/home/ana/.local/share/cardume"));
        assert_eq!(bare.socket(), None);
        assert_eq!(
            environment(true, &[("HOME", "/root")]).data_dir(),
            PathBuf::from("/var/lib/cardume")
        );
    }
}
