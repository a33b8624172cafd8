//! Whom to believe.
use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::BuildError;

/// Certificate authorities in a file of the user's, at most: what a system's own bundle has, many times over.
const MAX_AUTHORITIES: usize = 4_096;

/// TLS 1.3 towards servers that Mozilla's authorities vouch for, or those in `file`.
///
/// # Errors
/// When the file cannot be read, or has no certificate of an authority.
pub fn client(file: Option<&Path>) -> Result<Arc<ClientConfig>, BuildError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = file {
        let failed = |reason: String| BuildError {
            path: path.to_owned(),
            reason,
        };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
        let mut added = 0;
        for certificate in certificates.take(MAX_AUTHORITIES) {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            // Bundles of systems have some that nobody can read; one is enough.
            added += usize::from(roots.add(certificate).is_ok());
        }
        if added == 0 {
            return Err(failed("no certificate of an authority is in it".into()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider knows TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
