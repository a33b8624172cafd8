//! A node that starts again, with much to share.

use std::time::Instant;

use anyhow::ensure;
use cardume_testkit::daemon::Home;

use super::Setting;
use crate::{ask::Question, figures::Measured, place::wait_for_long, watch::Used};

/// How the tree came to be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// With `cardume share`; the node believes what it has written down.
    ByHand,
    /// By its configuration; the node looks whether it is as it was.
    Followed,
}

impl How {
    /// Both, with their names.
    pub(super) const ALL: [(&str, Self); 2] = [("by-hand", Self::ByHand), ("followed", Self::Followed)];
}

/// Shares a tree, stops the node, and starts it again, until it is ready and shares the tree as it is.
pub(super) fn run(setting: &Setting<'_>, how: How) -> anyhow::Result<Measured> {
    let path = setting.content.path.display();
    let home = Home::new(setting.program)?;
    let home = match how {
        How::ByHand => home,
        How::Followed => home.set(format!("share.tree.path=\"{path}\"")),
    };
    let daemon = home.start()?;
    match how {
        How::ByHand => drop(daemon.json(["share".as_ref(), setting.content.path.as_os_str()])?),
        How::Followed => wait_for_long("the tree to be shared", || is_shared(&daemon))?,
    }
    let (home, status) = daemon.stop()?;
    ensure!(status.success(), "the daemon ended with {status}");
    let began = Instant::now();
    let daemon = home.start()?;
    if how == How::Followed {
        wait_for_long("the tree to be shared again", || is_shared(&daemon))?;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Measured {
        bytes: setting.content.shape().bytes(),
        seconds,
        fetcher: Some(Used::so_far(daemon.pid())?),
        ..Measured::default()
    })
}

/// Whether this start has found the tree and nothing is left to do about it.
fn is_shared(home: &Home) -> anyhow::Result<bool> {
    let status = Question::get("/v1/status").ask(&home.socket())?;
    let share = &status["shares"][0];
    Ok(share["state"] == "shared" && share["cid"].is_string())
}
