//! `cardume token`: who may use the control API over TCP.
use anyhow::Context;
use cardume_api::{IssuedToken, NewSecret, NewToken, Scope, Token};
use clap::Subcommand;

use crate::{
    reach::Reach,
    text::{moment, table},
};

/// Tokens: who may use the control API over TCP, and for what
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    cardume token new backup --scope read,content --expires 90d > backup.token\n  \
    CARDUME_API=http://127.0.0.1:4080 CARDUME_TOKEN_FILE=backup.token cardume file ls\n\n\
    Scopes: read (see how the node is and what it has), content (share, get, forget, publish), tunnels,\n\
    compute, and admin (all of that, and to change connections, limits, channels, tokens and the\n\
    configuration). The daemon serves TCP where control.listen has an address and a port.")]
pub(crate) enum Command {
    /// Make a token; prints its secret, which is shown this once
    New {
        /// What to call it
        name: String,
        /// What it is good for
        #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPE,…")]
        scope: Vec<Scope>,
        /// Time after which it is good no more; never, if not given
        #[arg(long, value_name = "DURATION")]
        expires: Option<cardume_units::Duration>,
    },
    /// List the tokens
    Ls,
    /// Take tokens back, and end what is logged in with them
    Revoke {
        /// What they are called
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Give a token another secret, and print it; the old one is good no more
    Rotate {
        /// What it is called
        name: String,
        /// Take the old one too, for this long
        #[arg(long, value_name = "DURATION", default_value = "0s")]
        grace: cardume_units::Duration,
    },
}

pub(super) async fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    let client = reach.daemon().await?;
    match command {
        Command::New { name, scope, expires } => {
            let new = NewToken {
                name,
                scopes: scope,
                expires_s: expires.map(|expires| expires.get().as_secs()),
            };
            tell(reach, &client.new_token(&new).await?)
        }
        Command::Ls => list(reach, &client.tokens().await?),
        Command::Revoke { names } => {
            for name in names {
                let revoked = client.revoke_token(&name).await;
                revoked.with_context(|| format!("cannot revoke {name}"))?;
                if reach.out.is_json() {
                    reach
                        .out
                        .json(&serde_json::json!({ "token": name, "revoked": true }))?;
                }
            }
            Ok(())
        }
        Command::Rotate { name, grace } => {
            let grace_s = grace.get().as_secs();
            tell(reach, &client.rotate_token(&name, &NewSecret { grace_s }).await?)
        }
    }
}

fn tell(reach: Reach<'_>, issued: &IssuedToken) -> anyhow::Result<()> {
    reach.out.either(issued, || issued.secret.clone())?;
    reach.out.say("keep it: it is not shown again");
    Ok(())
}

fn list(reach: Reach<'_>, tokens: &[Token]) -> anyhow::Result<()> {
    if reach.out.is_json() {
        for token in tokens {
            reach.out.json(token)?;
        }
        return Ok(());
    }
    let rows = tokens.iter().map(|token| {
        let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        let at = |time: Option<u64>, none: &str| time.map_or_else(|| none.to_owned(), moment);
        [
            token.name.clone(),
            scopes.join(","),
            moment(token.created),
            at(token.expires, "never"),
            at(token.used, "-"),
        ]
    });
    let heads = ["name", "scopes", "created", "expires", "used"];
    let text = table(heads, rows.collect(), reach.out.is_terminal());
    Ok(reach.out.text(&text)?)
}
