//! Where a daemon has its state, its key and its socket.
use std::path::{Path, PathBuf};

use cardume_node::Config;

use crate::{
    config::Environment,
    failure::{Ended, status},
    reach::{absolute, probe},
};

/// Where a daemon of this configuration keeps its state.
pub(crate) fn data_dir(config: &Config, environment: &Environment) -> PathBuf {
    let path = config.node.data_dir.clone();
    absolute(&path.unwrap_or_else(|| environment.data_dir()))
}

/// Where a daemon of this configuration has its socket.
///
/// The usual place, unless another daemon answers there: then in the data directory.
pub(crate) fn socket(config: &Config, environment: &Environment, data_dir: &Path) -> PathBuf {
    // What is no socket was refused when the configuration was read.
    if let Some(path) = config.control.socket() {
        return path;
    }
    let own = in_data_dir(data_dir);
    match environment.socket() {
        Some(usual) if probe(&usual).is_err() => usual,
        _ => own,
    }
}

/// Where a daemon on this data directory can always be found.
pub(super) fn in_data_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("cardume.sock")
}

/// The configured key file; a systemd credential has its place by now.
///
/// # Errors
/// When there is no such credential.
pub(crate) fn key_file(config: &Config, environment: &Environment) -> Result<Option<PathBuf>, Ended> {
    file(
        config.identity.key_file.as_deref(),
        "identity.key_file",
        environment,
    )
}

/// The configured certificate of a member, likewise.
///
/// # Errors
/// When there is no such credential.
pub(crate) fn certificate_file(config: &Config, environment: &Environment) -> Result<Option<PathBuf>, Ended> {
    let configured = config.network.certificate_file.as_deref();
    file(configured, "network.certificate_file", environment)
}

fn file(configured: Option<&str>, key: &str, environment: &Environment) -> Result<Option<PathBuf>, Ended> {
    let Some(configured) = configured else {
        return Ok(None);
    };
    let Some(name) = configured.strip_prefix("credential:") else {
        return Ok(Some(absolute(Path::new(configured))));
    };
    let bad = |reason: &str| {
        let message = format!("{key}: {reason} for the credential {name:?}");
        Ended::new(status::BAD_CONFIG, message)
    };
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(bad("this is no name"));
    }
    let directory = environment
        .path("CREDENTIALS_DIRECTORY")
        .ok_or_else(|| bad("there is no $CREDENTIALS_DIRECTORY"))?;
    let path = directory.join(name);
    match path.is_file() {
        true => Ok(Some(path)),
        false => Err(bad("there is no file in $CREDENTIALS_DIRECTORY")),
    }
}
