//! `cardume member`: who belongs to a closed network. Needs no daemon, and no network.
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use cardume_api::Code;
use cardume_membership::{
    Armored as _, Authority, Certificate, FileError, RevocationList, Revoked, Serial, Terms,
};
use cardume_node::identity;
use clap::{Args, Subcommand};
use multiaddr::PeerId;
use serde_json::{Value, json};

use super::key;
use crate::{
    failure::{self, Ended},
    reach::Reach,
    text::moment,
};

/// Members of a closed network: certificates, signed and taken back
#[derive(Debug, Subcommand)]
#[command(
    after_help = "An authority signs who is a member, with a key that stays offline: `cardume key gen --authority`."
)]
pub(crate) enum Command {
    /// Sign a certificate that makes a peer a member
    Sign(SignOptions),
    /// Show what a certificate or a list of revocations says
    #[command(after_help = "Example:\n  cardume member show nas.member")]
    Show {
        /// The file
        file: PathBuf,
    },
    /// Take certificates back
    Revoke(RevokeOptions),
}

/// Sign a certificate that makes a peer a member
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    cardume member sign 12D3Koo… --key authority.key --groups web,eu --for 90d -o nas.member\n\n\
    Then set network.certificate_file of that peer to the file.")]
pub(crate) struct SignOptions {
    /// The peer, which `cardume id` prints there
    #[arg(value_name = "PEER_ID")]
    peer: PeerId,
    #[command(flatten)]
    signer: Signer,
    /// Groups that it is in
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    groups: Vec<String>,
    /// How long it is a member; ten years at most
    #[arg(long = "for", value_name = "DURATION", default_value = "90d")]
    lifetime: cardume_units::Duration,
    /// File to write; printed if not given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

/// Take certificates back
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cardume member revoke nas.member --key authority.key\n  \
    cardume member revoke 12D3Koo… --key authority.key --list /srv/revocations\n\n\
    The list grows with each revocation. Put it where network.revocations_file of one member says; members\n\
    pass it on to each other.")]
pub(crate) struct RevokeOptions {
    /// The certificate's file or its serial number, or a peer all of whose certificates are revoked
    #[arg(value_name = "FILE|SERIAL|PEER", required = true)]
    what: Vec<String>,
    #[command(flatten)]
    signer: Signer,
    /// The list to extend, made if it is missing
    #[arg(long, value_name = "FILE", default_value = "revocations")]
    list: PathBuf,
}

#[derive(Debug, Args)]
struct Signer {
    /// The authority's private key
    #[arg(long, value_name = "AUTHORITY")]
    key: PathBuf,
    /// The network [default: network.id of the configuration]
    #[arg(long, value_name = "ID")]
    network: Option<String>,
}

impl Signer {
    fn network(&self, reach: Reach<'_>) -> anyhow::Result<String> {
        match &self.network {
            Some(network) => Ok(network.clone()),
            None => Ok(reach.chain()?.config.network.id),
        }
    }

    fn key(&self) -> Result<(libp2p_identity::Keypair, Authority), Ended> {
        let pair = identity::load(&self.key).map_err(key::ended)?;
        let authority = Authority::of(&pair);
        let authority =
            authority.ok_or_else(|| Ended::usage(cardume_membership::SignError::Key.to_string()))?;
        Ok((pair, authority))
    }
}

pub(super) fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Sign(options) => sign(reach, options),
        Command::Show { file } => show(reach, &file),
        Command::Revoke(options) => revoke(reach, &options),
    }
}

fn sign(reach: Reach<'_>, options: SignOptions) -> anyhow::Result<()> {
    let network = options.signer.network(reach)?;
    let (key, _) = options.signer.key()?;
    let from = seconds(SystemTime::now());
    let terms = Terms {
        network,
        peer: options.peer,
        groups: options.groups.into_iter().collect(),
        from,
        until: from.saturating_add(options.lifetime.get().as_secs()),
        serial: Serial::random(),
    };
    let certificate = Certificate::sign(terms, &key).map_err(|error| Ended::usage(error.to_string()))?;
    let text = certificate.armor();
    let mut value = described(&certificate);
    value["certificate"] = text.clone().into();
    value["file"] = json!(options.output);
    let Some(path) = &options.output else {
        let told = match reach.out.is_json() {
            true => reach.out.json(&value),
            false => reach.out.text(&text),
        };
        return Ok(told?);
    };
    write(path, &text, options.force)?;
    Ok(reach.out.either(&value, || lines(&value))?)
}

/// Writes a file, all of it or none.
fn write(path: &Path, text: &str, force: bool) -> Result<(), Ended> {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let writing = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        match force {
            true => file.persist(path),
            false => file.persist_noclobber(path),
        }
        .map_err(|failed| failed.error)?;
        File::open(directory)?.sync_all()
    };
    writing().map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AlreadyExists => "; choose another name, or replace it with --force",
            _ => "",
        };
        Ended::new(
            failure::io_status(&error),
            format!("{}: {error}{remedy}", path.display()),
        )
    })
}

fn show(reach: Reach<'_>, file: &Path) -> anyhow::Result<()> {
    let lists = match cardume_membership::read_certificate(file) {
        Ok(certificate) => {
            let value = described(&certificate);
            return Ok(reach.out.either(&value, || lines(&value))?);
        }
        Err(FileError::Missing { .. }) => cardume_membership::read_revocations(file).map_err(ended)?,
        Err(error) => return Err(ended(error).into()),
    };
    if lists.is_empty() {
        let message = format!(
            "{}: there is no certificate in it, and no list of revocations",
            file.display()
        );
        return Err(Ended::code(Code::Corrupt, message).into());
    }
    for list in &lists {
        let value = listed(list);
        reach.out.either(&value, || lines(&value))?;
    }
    Ok(())
}

fn revoke(reach: Reach<'_>, options: &RevokeOptions) -> anyhow::Result<()> {
    let network = options.signer.network(reach)?;
    let (key, authority) = options.signer.key()?;
    let revoked: Vec<_> = options
        .what
        .iter()
        .map(|what| named(what, &network, &authority))
        .collect::<Result<_, _>>()?;
    let mut lists = match cardume_membership::read_revocations(&options.list) {
        Err(FileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(ended)?,
    };
    let own = |list: &RevocationList| *list.authority() == authority && list.network() == network;
    let previous = lists.iter().find(|list| own(list));
    let list = RevocationList::sign(&network, previous, &revoked, &key, SystemTime::now())
        .map_err(|error| Ended::usage(error.to_string()))?;
    lists.retain(|list| !own(list));
    lists.push(list.clone());
    let text: String = lists.iter().map(RevocationList::armor).collect();
    write(&options.list, &text, true)?;
    let mut value = listed(&list);
    value["file"] = json!(options.list);
    Ok(reach.out.either(&value, || lines(&value))?)
}

/// What is to be revoked.
fn named(what: &str, network: &str, authority: &Authority) -> Result<Revoked, Ended> {
    if let Ok(peer) = what.parse() {
        return Ok(Revoked::Peer(peer));
    }
    if let Ok(serial) = what.parse() {
        return Ok(Revoked::Serial(serial));
    }
    let path = Path::new(what);
    if !path.exists() {
        let message =
            format!("{what:?} is no file, no serial number of 16 hexadecimal digits, and no peer id");
        return Err(Ended::code(Code::NotFound, message));
    }
    let certificate = cardume_membership::read_certificate(path).map_err(ended)?;
    if certificate.authority() != authority {
        let message = format!("{what} is signed by another authority; revoke it with that one's key");
        return Err(Ended::usage(message));
    }
    if certificate.terms().network != network {
        let network = &certificate.terms().network;
        return Err(Ended::usage(format!(
            "{what} is for the network {network}; add --network {network}"
        )));
    }
    Ok(Revoked::Certificate(Box::new(certificate)))
}

fn described(certificate: &Certificate) -> Value {
    let terms = certificate.terms();
    let now = seconds(SystemTime::now());
    json!({
        "serial": terms.serial.to_string(),
        "peer_id": terms.peer.to_string(),
        "network": terms.network,
        "groups": terms.groups,
        "from": moment(terms.from),
        "until": moment(terms.until),
        "state": match now {
            now if now >= terms.until => "expired",
            now if now < terms.from => "not valid yet",
            _ => "valid",
        },
        "authority": certificate.authority().to_string(),
    })
}

fn listed(list: &RevocationList) -> Value {
    let serials: Vec<_> = list.serials().map(|serial| serial.to_string()).collect();
    let peers: Vec<_> = list.peers().map(|peer| peer.to_string()).collect();
    json!({
        "number": list.number(),
        "network": list.network(),
        "serials": serials,
        "peers": peers,
        "authority": list.authority().to_string(),
    })
}

/// Each value with its name, those that are lists with a line for each.
fn lines(value: &Value) -> String {
    let mut text = String::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let shown = match value {
            Value::Null => continue,
            Value::String(text) if text.contains('\n') => continue,
            Value::String(text) => text.clone(),
            Value::Array(all) => {
                let all: Vec<_> = all.iter().filter_map(Value::as_str).collect();
                all.join(" ")
            }
            other => other.to_string(),
        };
        let name = name.replace('_', " ");
        text += &format!("{name:<11} {shown}\n");
    }
    text
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn ended(error: FileError) -> Ended {
    let status = match &error {
        FileError::Io { error, .. } => failure::io_status(error),
        _ => Code::Corrupt.exit_status(),
    };
    Ended::new(status, error.to_string())
}
