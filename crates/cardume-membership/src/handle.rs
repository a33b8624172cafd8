//! The way in for the rest of the node.
use std::{sync::Arc, time::SystemTime};

use crate::{Access, BuildError, Certificate, Config, Flaw, Gate, RevocationList, members::Members};

/// Tells how it stands with the network. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    access: Access,
    gate: Gate,
    members: Option<Arc<Members>>,
}

/// The certificate of this node, as others see it.
#[derive(Debug, Clone)]
pub struct Own {
    /// The certificate.
    pub certificate: Arc<Certificate>,
    /// What is wrong with it now.
    pub flaw: Option<Flaw>,
    /// Whether it is time to have a new one signed.
    pub ends_soon: bool,
}

impl Handle {
    pub(crate) fn new(access: Access, gate: Gate, members: Option<Arc<Members>>) -> Self {
        Self {
            access,
            gate,
            members,
        }
    }

    /// Who may connect.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Has the authorities of `config` count from now on, which are read anew, as this node's certificate is; who is a
    /// member by none of them is parted from. The rest of `config` has to be as when this was built. Reads files: it
    /// blocks.
    ///
    /// # Errors
    /// When the node could be let in nowhere; nothing has changed then.
    pub fn configure(&self, config: &Config) -> Result<(), BuildError> {
        if let Some(members) = &self.members {
            let (authorities, _, certificate) = config.good_papers(members.local())?;
            members.trust(authorities, certificate);
        }
        Ok(())
    }

    /// Connections that the gate has ended since the start, by reason; reasons that nobody was are left out.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.gate.refusals()
    }

    /// The certificate that this node shows; none in a network that asks for none.
    pub fn own(&self) -> Option<Own> {
        let members = self.members.as_ref()?;
        let certificate = members.own();
        Some(Own {
            flaw: members.flaw_of_own(&certificate).err(),
            ends_soon: certificate.ends_soon(SystemTime::now()),
            certificate,
        })
    }

    /// The newest lists of revocations that are known.
    pub fn revocations(&self) -> Vec<Arc<RevocationList>> {
        self.members
            .as_ref()
            .map(|members| members.lists())
            .unwrap_or_default()
    }
}
