//! Finds the daemon to ask.
use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
};

use cardume_api::{Client, ClientError, client::Address};

use crate::{
    arguments::Global,
    config::{self, Chain, Environment, Given, Mistakes, VENDOR_DIR},
    failure::{Ended, status},
    out::Out,
};

/// Where the daemon of the whole machine has its socket.
const SYSTEM_SOCKET: &str = "/run/cardume/cardume.sock";

/// Bytes of a file with a token in it; a token has far fewer.
const MAX_TOKEN: u64 = 4096;

/// What a command needs to find a daemon, or to run a node itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach<'a> {
    pub(crate) global: &'a Global,
    pub(crate) environment: &'a Environment,
    pub(crate) out: &'a Out,
}

impl Reach<'_> {
    /// What the command line says about configuration.
    pub(crate) fn given(&self) -> Given {
        Given {
            file: self.global.config.clone(),
            set: self.global.set.clone(),
            data_dir: self.global.data_dir.as_deref().map(absolute),
        }
    }

    /// The configuration as a daemon would see it.
    pub(crate) fn chain(&self) -> Result<Chain, Mistakes> {
        config::load(&self.given(), self.environment, Path::new(VENDOR_DIR))
    }

    /// A client of the daemon.
    ///
    /// # Errors
    /// Exit status 3, with how to start one, when there is none.
    pub(crate) async fn daemon(&self) -> anyhow::Result<Client> {
        let Some(client) = self.daemon_if_any().await? else {
            return Err(Ended::new(
                status::NO_DAEMON,
                "no daemon is running; start one with `cardume daemon`, or name it with --api",
            )
            .into());
        };
        Ok(client)
    }

    /// A client of the daemon, if one answers. One that was named must be there.
    ///
    /// # Errors
    /// Exit status 3 when there is no daemon where the user says, 5 when it is not for this user, 6 when what is
    /// there does not answer: no command waits for it for ever.
    pub(crate) async fn daemon_if_any(&self) -> anyhow::Result<Option<Client>> {
        let found = self.find()?;
        if let Some(client) = &found {
            self.greet(client).await?;
        }
        Ok(found)
    }

    async fn greet(&self, client: &Client) -> Result<(), ClientError> {
        const OWN: &str = env!("CARGO_PKG_VERSION");
        let version = client.version().await?.map(|version| version.version);
        let version = version.unwrap_or_else(|| "of before 0.1.0".into());
        if version != OWN {
            self.out
                .say_more(format!("the daemon is cardume {version}, and this program {OWN}"));
        }
        Ok(())
    }

    fn find(&self) -> anyhow::Result<Option<Client>> {
        if let Some(address) = self.named() {
            let address: Address = address.parse()?;
            let client = match &address {
                Address::Unix(path) => {
                    probe(path).map_err(|error| named_error(path, &error))?;
                    return Ok(Some(Client::new(address)?));
                }
                Address::Http(_) => Client::new(address)?,
                Address::Https(_) => Client::over_tls(address, self.trusted()?)?,
            };
            let Some(token) = self.token()? else {
                return Ok(Some(client));
            };
            if client.address().is_open() {
                self.out.warn(
                    "the token goes over plain HTTP, and can be read on the way; use https:// or `ssh -L`",
                );
            }
            return Ok(Some(client.with_token(token)));
        }
        let mut forbidden = None;
        for path in self.sockets()? {
            match probe(&path) {
                Ok(()) => return Ok(Some(Client::new(Address::Unix(path))?)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    forbidden.get_or_insert(path);
                }
                Err(error) => self
                    .out
                    .say_more(format!("no daemon at {}: {error}", path.display())),
            }
        }
        if let Some(path) = forbidden {
            self.out
                .say_more(format!("the daemon at {} is not for this user", path.display()));
        }
        Ok(None)
    }

    /// The secret of a token, from the file that the user names.
    fn token(&self) -> anyhow::Result<Option<String>> {
        const VARIABLE: &str = "CARDUME_TOKEN_FILE";
        let Some(path) = self.environment.get(VARIABLE).map(PathBuf::from) else {
            return Ok(None);
        };
        let failed = |error: io::Error| {
            let message = format!("{VARIABLE}: {}: {error}", path.display());
            Ended::usage(message)
        };
        let mut text = String::new();
        let file = std::fs::File::open(&path).map_err(failed)?;
        file.take(MAX_TOKEN).read_to_string(&mut text).map_err(failed)?;
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("{VARIABLE}: {} holds no token", path.display());
            return Err(Ended::usage(message).into());
        }
        Ok(Some(token.to_owned()))
    }

    /// Whom to believe: authorities that browsers do, and those in the file that the user names.
    fn trusted(&self) -> anyhow::Result<rustls::ClientConfig> {
        const VARIABLE: &str = "CARDUME_CA_FILE";
        let file = self.environment.get(VARIABLE).map(Path::new);
        let tls =
            cardume_origin::tls_client(file).map_err(|error| Ended::usage(format!("{VARIABLE}: {error}")))?;
        Ok(Arc::unwrap_or_clone(tls))
    }

    /// Whether the user has named a daemon that is asked over the network: it may be on another host.
    pub(crate) fn is_remote(&self) -> bool {
        let address = self.named().and_then(|address| address.parse().ok());
        matches!(address, Some(Address::Http(_) | Address::Https(_)))
    }

    /// The address that the user gave.
    fn named(&self) -> Option<&str> {
        let given = self.global.api.as_deref();
        // A data directory on the command line says more about this call than a variable.
        given.or_else(|| match self.global.data_dir {
            Some(_) => None,
            None => self.environment.get("CARDUME_API"),
        })
    }

    /// Where a daemon's socket may be, the likeliest first.
    pub(crate) fn sockets(&self) -> anyhow::Result<Vec<PathBuf>> {
        let given = self.given();
        let asked = given.file.is_some() || !given.set.is_empty();
        let config = match self.chain() {
            Ok(chain) => chain.config,
            Err(mistakes) if asked => return Err(mistakes.into()),
            // A running daemon can still be asked with a file that the next start would refuse.
            Err(mistakes) => {
                self.out
                    .warn(format!("the configuration is not used: {mistakes}"));
                cardume_node::Config::default()
            }
        };
        // What is no socket was refused when the configuration was read.
        let own = given.data_dir.or(config.node.data_dir);
        if let Some(path) = config.control.socket() {
            // A daemon that runs may have been started before that was written.
            let data_dir = own.unwrap_or_else(|| self.environment.data_dir());
            return Ok(vec![path, data_dir.join("cardume.sock")]);
        }
        if let Some(data_dir) = own {
            return Ok(vec![data_dir.join("cardume.sock")]);
        }
        let usual = self.environment.socket();
        let in_data_dir = self.environment.data_dir().join("cardume.sock");
        Ok(usual
            .into_iter()
            .chain([in_data_dir, SYSTEM_SOCKET.into()])
            .collect())
    }
}

/// `path` from the root, without following links.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Whether somebody listens at `path`.
pub(crate) fn probe(path: &Path) -> io::Result<()> {
    UnixStream::connect(path).map(drop)
}

fn named_error(path: &Path, error: &io::Error) -> ClientError {
    let address = Address::Unix(path.to_path_buf()).to_string();
    match error.kind() {
        io::ErrorKind::PermissionDenied => ClientError::Forbidden { address },
        _ => ClientError::NoDaemon {
            address,
            reason: format!("{error}; start one with `cardume daemon`"),
        },
    }
}
