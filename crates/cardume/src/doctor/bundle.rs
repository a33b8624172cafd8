//! What is handed to somebody who helps: everything but secrets.
use std::{fs::File, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use anyhow::Context as _;
use cardume_api::{Client, Diagnosis};
use serde_json::{Value, json};

use super::{Daemon, Patient};

/// Words in the names of keys whose values are nobody else's business.
const SECRET: [&str; 4] = ["token", "secret", "password", "credential"];

/// What is known of a node besides what was found.
#[derive(Default)]
pub(super) struct Known {
    config: Value,
    daemon: Option<Daemon>,
    /// Of the node's host.
    system: Value,
}

impl Known {
    /// Of a node on this host.
    pub(super) fn of(patient: Patient) -> anyhow::Result<Self> {
        let memory = read("/proc/meminfo").map(|text| text.lines().take(5).collect::<Vec<_>>().join("\n"));
        Ok(Self {
            config: serde_json::to_value(&patient.config)?,
            daemon: patient.daemon,
            system: json!({
                "kernel": read("/proc/sys/kernel/osrelease"),
                "load": read("/proc/loadavg"),
                "memory": memory,
            }),
        })
    }

    /// Of a node on another host, of whose system nothing is known here.
    pub(super) async fn elsewhere(client: Client) -> anyhow::Result<Self> {
        Ok(Self {
            config: client.config().await?,
            daemon: Some(Daemon::meet(client).await?),
            system: Value::Null,
        })
    }
}

/// Writes a new file that only its owner can read.
pub(super) async fn write(path: &Path, report: &Diagnosis, known: Known) -> anyhow::Result<()> {
    let mut config = known.config;
    leave_out_secrets(&mut config);
    let (mut kad, mut shown) = (Value::Null, Value::Null);
    if let Some(daemon) = &known.daemon {
        kad = serde_json::to_value(daemon.client.kad().await.ok())?;
        shown = json!({ "status": daemon.status, "peers": daemon.peers });
    }
    let all = json!({
        "report": report, "config": config, "daemon": shown, "kad": kad, "system": known.system,
    });
    let failed = || format!("cannot write {}", path.display());
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(failed)?;
    file.write_all(&serde_json::to_vec_pretty(&all)?)
        .with_context(failed)?;
    file.write_all(b"\n").with_context(failed)
}

fn read(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// Names of files stay, for they are no secrets; the key itself is never read for this.
fn leave_out_secrets(value: &mut Value) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                let named = SECRET.iter().any(|word| key.contains(word)) && !key.ends_with("_file");
                // A link lets anybody on the network fetch what it names.
                let link = key == "from" && value.is_string();
                if named || link {
                    *value = Value::String("(left out)".into());
                } else {
                    leave_out_secrets(value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(leave_out_secrets),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_links_are_left_out_and_names_of_files_stay() {
        let mut value = json!({
            "control": { "token": "s3cret", "key_file": "/k", "tokens": ["s3cret"] },
            "fetch": { "a": { "from": "cardume:bafk", "to": "/a" } },
        });
        leave_out_secrets(&mut value);
        let text = value.to_string();
        assert!(!text.contains("s3cret") && !text.contains("bafk"), "{text}");
        assert!(text.contains("/k") && text.contains("/a"), "{text}");
    }
}
