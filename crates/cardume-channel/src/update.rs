//! The program that is run when a followed version has changed.
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cardume_content::Cid;
use cardume_program::{Run, RunError};

use crate::Id;

/// What the program is told, in its environment.
#[derive(Debug, Clone)]
pub struct Update {
    /// `CHANNEL_FOLLOW`: what configuration calls the follow.
    pub follow: String,
    /// `CHANNEL_ID`.
    pub channel: Id,
    /// `CHANNEL_NUMBER`: of the version that is there now.
    pub number: u64,
    /// `CHANNEL_CID`.
    pub cid: Cid,
    /// `CHANNEL_PATH`: where it is.
    pub path: PathBuf,
}

/// Runs `on_update` to the end, or kills it, and all that it has started, after `limit`. What it says goes to the log.
///
/// # Errors
/// When it cannot be run, takes too long, or fails.
///
/// # Cancel safety
/// Dropping the future kills it.
pub async fn run(argv: &[String], update: &Update, limit: Duration) -> Result<(), RunError> {
    let run = Run {
        argv,
        variables: vec![
            ("CHANNEL_FOLLOW", (&update.follow).into()),
            ("CHANNEL_ID", update.channel.to_string().into()),
            ("CHANNEL_NUMBER", update.number.to_string().into()),
            ("CHANNEL_CID", update.cid.to_string().into()),
            ("CHANNEL_PATH", (&update.path).into()),
        ],
        directory: directory(&update.path),
        input: b"",
        limit,
    };
    let said = |line: &str| {
        tracing::info!(
            follow = update.follow,
            number = update.number,
            line,
            "on_update says"
        )
    };
    run.run(said).await
}

/// Where a program may well stand: in the version, or beside it if that is a file.
fn directory(path: &Path) -> &Path {
    if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(path)
    }
}

#[cfg(test)]
mod tests {
    use cardume_content::Hash;
    use libp2p_identity::ed25519;

    use super::*;

    #[tokio::test]
    async fn the_program_is_told_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let update = Update {
            follow: "films".into(),
            channel: Id::of(&ed25519::Keypair::generate().public()),
            number: 7,
            cid: Cid::directory(Hash::of(b"x")),
            path: dir.path().to_owned(),
        };
        let script = "echo \"$CHANNEL_FOLLOW $CHANNEL_ID $CHANNEL_NUMBER $CHANNEL_CID $CHANNEL_PATH\" > told";
        let argv = ["sh", "-c", script].map(str::to_owned);
        run(&argv, &update, Duration::from_secs(60)).await.unwrap();
        let told = std::fs::read_to_string(dir.path().join("told")).unwrap();
        let (id, cid, path) = (update.channel, update.cid, update.path.display());
        assert_eq!(told.trim(), format!("films {id} 7 {cid} {path}"));
    }
}
