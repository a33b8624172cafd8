//! `cardume config`: the configuration.
use std::{collections::BTreeMap, path::Path};

use cardume_api::{Applies, Plan};
use cardume_node::{Config, identity};
use clap::{Args, Subcommand};
use figment::value::Value;

use crate::{
    config::{Chain, EXAMPLE, Mistake, Mistakes, Place},
    daemon,
    failure::{Ended, status},
    reach::Reach,
    text::{clean, count},
};

/// The configuration
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look for mistakes: all of them, each with its place
    #[command(after_help = "Example:\n  cardume --config new.toml config check")]
    Check,
    /// Show what the files would change in the daemon that runs
    ///
    /// The daemon reads its own files, with the options and variables that it was started with. `live` is what `cardume
    /// reload` applies, `restart` what needs a restart. Secrets are never shown.
    #[command(
        after_help = "Examples:\n  cardume config plan\n  cardume config plan --exit-code || cardume reload\n\n\
        With --exit-code the status is 0 when nothing would change, 10 when something would."
    )]
    Plan {
        /// End with status 10 when something would change
        #[arg(long)]
        exit_code: bool,
    },
    /// Show what counts, from all files, variables and options together
    Show {
        /// Say for each value where it comes from
        #[arg(long)]
        origin: bool,
    },
    /// Print the JSON Schema of the configuration file
    Schema,
    /// Print a file with every key, commented, at its default
    #[command(after_help = "Example:\n  cardume config example > ~/.config/cardume/cardume.toml")]
    Example,
    /// Show which files are read, and where state and socket have their places
    Path,
}

pub(super) fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    match command {
        // It asks the daemon, and so is run in a runtime by `plan`.
        Command::Plan { .. } => Ok(()),
        Command::Check => check(reach),
        Command::Show { origin } => show(reach, origin),
        Command::Schema => {
            let mut text = serde_json::to_string_pretty(&schemars::schema_for!(Config))?;
            text.push('\n');
            Ok(reach.out.text(&text)?)
        }
        Command::Example => Ok(reach.out.text(EXAMPLE)?),
        Command::Path => places(reach),
    }
}

/// Have the daemon read its configuration again
///
/// It takes over what applies without a restart, and tells what waits for one. Connections and transfers go on. All of
/// it is taken over or nothing: when there is a mistake in a file, the place is told, the status is 78, and the daemon
/// goes on as before.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cardume config check && cardume reload")]
pub(crate) struct ReloadOptions {}

pub(super) async fn plan(reach: Reach<'_>, exit_code: bool) -> anyhow::Result<()> {
    let plan = reach.daemon().await?.plan().await?;
    reach.out.either(&plan, || match plan.changed {
        true => listed(&plan),
        false => "nothing would change".to_owned(),
    })?;
    if exit_code && plan.changed {
        let changes = count(plan.changes.len() as u64, "key");
        return Err(Ended::new(status::WOULD_CHANGE, format!("{changes} would change")).into());
    }
    Ok(())
}

pub(super) async fn reload(reach: Reach<'_>) -> anyhow::Result<()> {
    let plan = reach.daemon().await?.reload().await?;
    reach.out.either(&plan, || match plan.changed {
        true => listed(&plan),
        false => "nothing has changed".to_owned(),
    })?;
    if plan.restart {
        let waiting = plan.waiting().join(", ");
        reach.out.warn(format!("restart the daemon to apply {waiting}"));
    }
    Ok(())
}

/// One line for each change, `live` or `restart` first.
fn listed(plan: &Plan) -> String {
    let lines = plan.changes.iter().map(|change| {
        let applies = match change.applies {
            Applies::Live => "live   ",
            _ => "restart",
        };
        let value = |value: &serde_json::Value| match value {
            serde_json::Value::Null => "-".to_owned(),
            value => value.to_string(),
        };
        let text = format!(
            "{applies}  {} = {} -> {}",
            change.key,
            value(&change.old),
            value(&change.new)
        );
        clean(&text)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn check(reach: Reach<'_>) -> anyhow::Result<()> {
    let checked = reach.chain().and_then(|chain| match papers(reach, &chain) {
        mistakes if mistakes.is_empty() => Ok(chain),
        mistakes => Err(Mistakes(mistakes)),
    });
    match checked {
        Ok(chain) => {
            let value = serde_json::json!({ "valid": true, "files": chain.files, "mistakes": [] });
            reach.out.either(&value, || match chain.files.as_slice() {
                [] => "ok: no file; everything is at its default".to_owned(),
                files => {
                    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                    format!("ok: {}", files.join(" "))
                }
            })?;
            Ok(())
        }
        Err(mistakes) if reach.out.is_json() => {
            reach
                .out
                .json(&serde_json::json!({ "valid": false, "mistakes": mistakes.0 }))?;
            let found = count(mistakes.0.len() as u64, "mistake");
            Err(Ended::new(status::BAD_CONFIG, format!("{found} in the configuration")).into())
        }
        Err(mistakes) => Err(mistakes.into()),
    }
}

/// What is wrong with keys and certificate of a closed network, which are in files of their own.
fn papers(reach: Reach<'_>, chain: &Chain) -> Vec<Mistake> {
    let place = |key: &str| {
        let path: Vec<_> = key.split('.').map(str::to_owned).collect();
        let value = chain.values.get(&path);
        value.map_or(Place::Default, |(_, place)| place.clone())
    };
    let mut network = chain.config.network.clone();
    match daemon::certificate_file(&chain.config, reach.environment) {
        Ok(path) => network.certificate_file = path.map(|path| path.to_string_lossy().into_owned()),
        Err(ended) => return vec![Mistake::new(place("network.certificate_file"), ended.message)],
    }
    let key_file = daemon::key_file(&chain.config, reach.environment).ok().flatten();
    let key_file =
        key_file.unwrap_or_else(|| daemon::data_dir(&chain.config, reach.environment).join("identity.key"));
    // Without a key, or one that this user can read, whose certificate it is stays open.
    let local = identity::load(&key_file)
        .ok()
        .map(|key| key.public().to_peer_id());
    let mistakes = network.check(local).into_iter();
    mistakes
        .map(|error| {
            let reason = format!("{}: {error}", error.key());
            Mistake::new(place(error.key()), reason).hint(Some(error.remedy()))
        })
        .collect()
}

fn show(reach: Reach<'_>, origin: bool) -> anyhow::Result<()> {
    let chain = reach.chain()?;
    if !origin {
        if reach.out.is_json() {
            return Ok(reach.out.json(&chain.config)?);
        }
        return Ok(reach.out.text(&toml::to_string(&chain.config)?)?);
    }
    if reach.out.is_json() {
        let values: BTreeMap<String, serde_json::Value> = chain
            .values
            .iter()
            .map(|(path, (value, place))| {
                let value = serde_json::json!({
                    "value": value, "origin": place.to_string(), "place": place,
                });
                (dotted(path), value)
            })
            .collect();
        return Ok(reach.out.json(&values)?);
    }
    for (path, (value, place)) in &chain.values {
        reach.out.line(line(path, value, place))?;
    }
    Ok(())
}

/// One value as TOML, with its origin as a comment. What is not set is a comment as a whole.
fn line(path: &[String], value: &Value, origin: &impl std::fmt::Display) -> String {
    let key = dotted(path);
    match toml::Value::try_from(value) {
        Ok(value) => format!("{key} = {value}  # {origin}"),
        Err(_) => format!("#{key} =  # {origin}"),
    }
}

fn dotted(path: &[String]) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let names = path
        .iter()
        .map(|name| match name.chars().all(bare) && !name.is_empty() {
            true => name.clone(),
            false => toml::Value::String(name.clone()).to_string(),
        });
    names.collect::<Vec<_>>().join(".")
}

fn places(reach: Reach<'_>) -> anyhow::Result<()> {
    let (file, _) = reach.environment.config_file(reach.given().file.as_deref());
    let drop_ins = file.parent().unwrap_or_else(|| Path::new("")).join("conf.d");
    let Chain { config, files, .. } = reach.chain()?;
    let data_dir = daemon::data_dir(&config, reach.environment);
    let socket = daemon::socket(&config, reach.environment, &data_dir);
    let value = serde_json::json!({
        "file": file, "exists": file.exists(), "drop_ins": drop_ins, "read": files,
        "data_dir": data_dir, "socket": socket,
    });
    // One line for scripts; the rest is for those who ask for it.
    reach.out.either(&value, || file.display().to_string())?;
    reach
        .out
        .say_more(format!("drop-ins  {}/*.toml", drop_ins.display()));
    reach.out.say_more(format!("data      {}", data_dir.display()));
    reach.out.say_more(format!("socket    {}", socket.display()));
    Ok(())
}
