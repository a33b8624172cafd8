//! From configuration to a gate, and what goes with it.
use std::{path::PathBuf, sync::Arc, time::SystemTime};

use cardume_access::Roll;
use cardume_behaviour::Onlooking;
use libp2p_identity::PeerId;

use crate::{
    Access, AuthoritiesError, Behaviour, Certificate, Config, FileError, Flaw, Gate, Handle, Server, Watch,
    files,
    gate::Rule,
    members::Members,
    server::{self, Files},
};

/// What in `[network]` cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The authorities.
    #[error("{0}")]
    Authorities(#[from] AuthoritiesError),
    /// There is no certificate.
    #[error("is not set, and network.access is \"certified\"")]
    NoCertificate,
    /// The certificate's file.
    #[error("{0}")]
    File(FileError),
    /// What the certificate says.
    #[error("{}: the certificate {flaw}", path.display())]
    Flawed {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The revocations.
    #[error("{0}")]
    Revocations(FileError),
}

impl BuildError {
    /// The key of the configuration that it is about.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Authorities(_) => "network.authorities",
            Self::NoCertificate | Self::File(_) | Self::Flawed { .. } => "network.certificate_file",
            Self::Revocations(_) => "network.revocations_file",
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Authorities(_) => "name the key that `cardume key gen --authority` has printed",
            Self::NoCertificate => "set it to the file that `cardume member sign` has written",
            Self::File(_) => {
                "put the file there that `cardume member sign` has written, readable for the node's user"
            }
            Self::Flawed { flaw, .. } => match flaw {
                Flaw::OtherNetwork => {
                    "set network.id to the certificate's network, or have one signed for this one"
                }
                Flaw::OtherPeer => "have one signed for the peer id that `cardume id` prints",
                Flaw::UnknownAuthority => {
                    "add its authority, which `cardume member show` prints, to network.authorities"
                }
                Flaw::NotYet => "wait until it is, or set the clock",
                _ => "have a new one signed: `cardume member sign`",
            },
            Self::Revocations(_) => "put the file there that `cardume member revoke` has written",
        }
    }
}

impl Config {
    /// Builds the gate, the behaviour for the swarm, the handle for everybody else, and the server, of which there
    /// is none unless `access` is `certified`. Reads files: it blocks.
    ///
    /// `certificate_file` must be a path by now. `roll` says which peers configuration names, and what certificates
    /// grant is entered there; `known` is the file to keep revocations in.
    ///
    /// # Errors
    /// When the node could be let in nowhere: what [`check`](Self::check) finds, but for a certificate that has
    /// expired or begins later, or revocations that cannot be read. Those are told, and looked for again.
    pub fn build(
        &self,
        local: PeerId,
        roll: Roll,
        known: PathBuf,
    ) -> Result<(Gate, Option<Behaviour>, Handle, Option<Server>), BuildError> {
        let rule = match self.access {
            Access::Open => Rule::Open,
            Access::Listed => Rule::Listed(roll),
            Access::Certified => return self.build_certified(local, roll, known),
        };
        let gate = Gate::new(rule);
        Ok((gate.clone(), None, Handle::new(self.access, gate, None), None))
    }

    fn build_certified(
        &self,
        local: PeerId,
        roll: Roll,
        known: PathBuf,
    ) -> Result<(Gate, Option<Behaviour>, Handle, Option<Server>), BuildError> {
        let (authorities, path, certificate) = self.good_papers(&local)?;
        let members = Arc::new(Members::new(
            self.id.clone(),
            local,
            authorities,
            certificate,
            roll,
        ));
        for path in [Some(&known), self.revocations_file.as_ref()]
            .into_iter()
            .flatten()
        {
            match files::revocations(path) {
                Ok(lists) => server::adopt(&members, lists),
                // Before anything was ever revoked there is nothing.
                Err(FileError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, "these revocations do not count"),
            }
        }
        let streams = libp2p_stream::Behaviour::new();
        let files = Files {
            certificate: path,
            revocations: self.revocations_file.clone(),
            known,
        };
        let server = Server::new(members.clone(), files, streams.new_control());
        let behaviour = Behaviour {
            watch: Onlooking::new(Watch(members.clone())),
            streams,
        };
        let gate = Gate::new(Rule::Certified(members.clone()));
        let handle = Handle::new(self.access, gate.clone(), Some(members));
        Ok((gate, Some(behaviour), handle, Some(server)))
    }

    /// What the node can go by: a certificate that is its own, of one of the authorities, at whatever time.
    pub(crate) fn good_papers(
        &self,
        local: &PeerId,
    ) -> Result<(Vec<crate::Authority>, PathBuf, Certificate), BuildError> {
        let (authorities, path, certificate) = self.papers()?;
        match certificate.check(&self.id, local, &authorities, SystemTime::now()) {
            Ok(()) | Err(Flaw::Expired | Flaw::NotYet) => Ok((authorities, path, certificate)),
            Err(flaw) => Err(BuildError::Flawed { path, flaw }),
        }
    }

    fn papers(&self) -> Result<(Vec<crate::Authority>, PathBuf, Certificate), BuildError> {
        let authorities = self.authorities()?;
        let path = self.certificate_file.as_ref().ok_or(BuildError::NoCertificate)?;
        let path = PathBuf::from(path);
        let certificate = files::certificate(&path).map_err(BuildError::File)?;
        Ok((authorities, path, certificate))
    }

    /// Finds what is wrong with keys and certificate, for a node that is `local`, if that is known. Reads files: it
    /// blocks.
    pub fn check(&self, local: Option<PeerId>) -> Vec<BuildError> {
        if self.access != Access::Certified {
            return Vec::new();
        }
        let mut mistakes = Vec::new();
        match self.papers() {
            Ok((authorities, path, certificate)) => {
                let peer = local.unwrap_or_else(|| certificate.terms().peer);
                if let Err(flaw) = certificate.check(&self.id, &peer, &authorities, SystemTime::now()) {
                    mistakes.push(BuildError::Flawed { path, flaw });
                }
            }
            Err(error) => mistakes.push(error),
        }
        if let Some(path) = &self.revocations_file
            && let Err(error) = files::revocations(path)
        {
            mistakes.push(BuildError::Revocations(error));
        }
        mistakes
    }
}
