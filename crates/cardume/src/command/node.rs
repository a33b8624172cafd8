//! `cardume status`, `id` and `stop`
use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use cardume_api::{Client, ClientError, Code, Membership, Share, Status, client::Address};
use clap::Args;

use super::wait;
use crate::{
    failure::Ended,
    reach::{Reach, probe},
    text::{allowed, clean, count, size, span},
};

/// Time between two looks at a daemon that is coming or going.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Time for an answer when the time to wait is over.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// Time between two looks at a daemon that is watched.
const WATCH: Duration = Duration::from_secs(2);
/// Time for a daemon to end that does not say what its shutdown.grace is.
const GRACE: Duration = Duration::from_secs(25);
/// Time to write down what there is, beyond the grace.
const SETTLING: Duration = Duration::from_secs(5);

/// How the node is
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cardume status\n  cardume status --wait 30s && cardume get LINK")]
pub(crate) struct StatusOptions {
    /// Wait up to this long for a daemon that is ready
    #[arg(long, value_name = "DURATION")]
    wait: Option<cardume_units::Duration>,
    /// Tell again every two seconds, until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) async fn status(reach: Reach<'_>, options: StatusOptions) -> anyhow::Result<()> {
    let first = match options.wait {
        Some(limit) => wait_until_ready(reach, limit.get()).await?,
        None => reach.daemon().await?.status().await?,
    };
    tell(reach, &first)?;
    if options.watch {
        let client = reach.daemon().await?;
        let watching = async {
            loop {
                tokio::time::sleep(WATCH).await;
                tell(reach, &client.status().await?)?;
            }
        };
        return wait::unless_interrupted(watching).await?;
    }
    Ok(())
}

async fn wait_until_ready(reach: Reach<'_>, limit: Duration) -> anyhow::Result<Status> {
    let began = Instant::now();
    loop {
        // Never much longer than the user said, whatever takes the call and does not answer it.
        let left = limit.saturating_sub(began.elapsed()).max(LAST_LOOK);
        let late = || {
            Ended::code(
                Code::Timeout,
                format!("the daemon did not answer in {}", span(limit)),
            )
        };
        let last = tokio::time::timeout(left, ask(reach)).await.map_err(|_| late());
        match last.map_err(anyhow::Error::from).flatten() {
            Ok(status) if status.ready => return Ok(status),
            Ok(_) if began.elapsed() > limit => {
                let message = format!("the daemon is not ready after {}", span(limit));
                return Err(Ended::code(Code::Timeout, message).into());
            }
            Err(error) if began.elapsed() > limit || is_final(&error) => return Err(error),
            _ => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

async fn ask(reach: Reach<'_>) -> anyhow::Result<Status> {
    Ok(reach.daemon().await?.status().await?)
}

/// Whether waiting does not help.
fn is_final(error: &anyhow::Error) -> bool {
    error.is::<crate::config::Mistakes>()
        || matches!(
            error.downcast_ref(),
            Some(ClientError::Address { .. } | ClientError::Forbidden { .. })
        )
}

fn tell(reach: Reach<'_>, status: &Status) -> anyhow::Result<()> {
    reach.out.either(status, || {
        let list = |addresses: &[multiaddr::Multiaddr]| {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            addresses.join("\n            ")
        };
        let mut text = format!("peer id     {}\nname        {}\n", status.peer_id, status.name);
        text += &format!("version     {}\nnetwork     {}\n", status.version, status.network);
        text += &membership(&status.membership);
        text += &format!("up          {}\n", span(Duration::from_secs(status.uptime_s)));
        text += &format!("ready       {}\n", if status.ready { "yes" } else { "no" });
        text += &format!("listening   {}\n", list(&status.listen));
        if !status.external.is_empty() {
            text += &format!("reachable   {}\n", list(&status.external));
        }
        text += &format!("peers       {}\nroots       {}\n", status.peers, status.roots);
        for share in &status.shares {
            text += &format!("share       {}\n", describe(share));
        }
        text += &format!("rates       {}\n", super::rates::summary(&status.rates));
        text += &format!("operations  {}\n", status.operations);
        let denied: Vec<_> = status.denied.iter().filter(|(_, count)| **count > 0).collect();
        if !denied.is_empty() {
            let denied = denied.iter().map(|(action, count)| format!("{action} {count}"));
            text += &format!("denied      {}\n", denied.collect::<Vec<_>>().join(", "));
        }
        text += &stored(status);
        for follow in &status.follows {
            text += &format!(
                "follow      {}\n",
                super::channel::standing(follow).replace('\n', "\n          ")
            );
        }
        text + &format!("data        {}", status.data_dir)
    })?;
    Ok(())
}

/// How it stands with a network that is not open.
fn membership(membership: &Membership) -> String {
    if matches!(membership.access.as_str(), "" | "open") {
        return String::new();
    }
    let refused: u64 = membership.refused.values().sum();
    let mut text = format!(
        "access      {}, {} not let in\n",
        membership.access,
        count(refused, "connection")
    );
    if let Some(certificate) = &membership.certificate {
        let left = certificate.until.saturating_sub(now());
        let state = match &certificate.problem {
            Some(problem) => problem.clone(),
            None if certificate.expires_soon => "expires soon".into(),
            None => "good".into(),
        };
        let left = span(Duration::from_secs(left));
        text += &format!("certificate {} {state}, {left} left\n", certificate.serial);
    }
    text
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn describe(share: &Share) -> String {
    let id = share.cid.map_or_else(|| "-".to_owned(), |cid| cid.to_string());
    let state = format!("{:?}", share.state).to_lowercase();
    let problem = share.problem.as_ref();
    let problem = problem.map(|problem| format!(" ({problem})")).unwrap_or_default();
    let (name, path) = (&share.name, &share.path);
    let allow = share.allow.as_deref();
    let allow = allow
        .map(|_| format!(", for {}", allowed(allow)))
        .unwrap_or_default();
    format!(
        "{name} {state} {id} {path}, {}{allow}{problem}",
        count(share.files, "file")
    )
}

/// How the store is, and what configuration wants fetched.
fn stored(status: &Status) -> String {
    let mut text = String::new();
    if let Some(store) = &status.store {
        let quota = store.quota.map(|quota| format!(" of {}", size(quota)));
        text += &format!("store       {}{}\n", size(store.used), quota.unwrap_or_default());
        if let Some(problem) = &store.problem {
            text += &format!("            read-only: {}\n", clean(problem));
        }
    }
    for fetch in &status.fetches {
        let state = fetch.state.as_str();
        text += &format!(
            "fetch       {}: {state}, {} of {}",
            fetch.name,
            size(fetch.done),
            size(fetch.size)
        );
        text += &format!(", to {}\n", clean(&fetch.to));
        if let Some(problem) = &fetch.problem {
            text += &format!("            {}\n", clean(problem));
        }
    }
    text
}

/// The node's peer id
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cardume id\n  cardume id --key /etc/cardume/identity.key")]
pub(crate) struct IdOptions {
    /// Of the key in this file, without asking a daemon
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(super) async fn id(reach: Reach<'_>, options: IdOptions) -> anyhow::Result<()> {
    let peer_id = match options.key {
        Some(path) => super::key::peer_id(&path)?,
        None => match reach.daemon_if_any().await? {
            Some(client) => client.status().await?.peer_id,
            None => super::key::peer_id(&own_key(reach)?).context("no daemon is running to ask")?,
        },
    };
    let value = serde_json::json!({ "peer_id": peer_id });
    Ok(reach.out.either(&value, || &peer_id)?)
}

/// Where a daemon started now would have its key.
fn own_key(reach: Reach<'_>) -> anyhow::Result<PathBuf> {
    let config = reach.chain()?.config;
    Ok(match crate::daemon::key_file(&config, reach.environment)? {
        Some(path) => path,
        None => crate::daemon::data_dir(&config, reach.environment).join("identity.key"),
    })
}

pub(super) async fn stop(reach: Reach<'_>) -> anyhow::Result<()> {
    let client = reach.daemon().await?;
    let patience = grace(&client).await.saturating_add(SETTLING);
    client.stop().await?;
    let gone = tokio::time::timeout(patience, gone(&client));
    let gone = wait::unless_interrupted(gone).await?;
    if gone.is_err() {
        let message = format!("the daemon has not ended after {}", span(patience));
        return Err(Ended::code(Code::Timeout, message).into());
    }
    let value = serde_json::json!({ "stopped": true });
    Ok(reach.out.either(&value, || "stopped")?)
}

/// The time that the daemon gives to running work.
async fn grace(client: &Client) -> Duration {
    let config = client.config().await.unwrap_or_default();
    let grace = config.pointer("/shutdown/grace").and_then(|grace| grace.as_str());
    let grace = grace.and_then(|grace| grace.parse::<cardume_units::Duration>().ok());
    grace.map_or(GRACE, cardume_units::Duration::get)
}

/// Waits until nobody answers any more.
async fn gone(client: &Client) {
    loop {
        let answers = match client.address() {
            Address::Unix(path) => probe(path).is_ok(),
            Address::Http(_) | Address::Https(_) => client.status().await.is_ok(),
        };
        if !answers {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
