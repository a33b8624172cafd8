//! What a peer's certificate has to be: one, signed by itself, with a signature of the peer's key inside.
//!
//! <https://github.com/libp2p/specs/blob/master/tls/tls.md>
use libp2p_identity::{PeerId, PublicKey};
use libp2p_tls::certificate::parse;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use x509_parser::{
    asn1_rs::{OctetString, Sequence},
    prelude::{FromDer as _, X509Certificate},
};

/// Accepts every well-made certificate: which peer it is of, the swarm compares.
///
/// libp2p's parser verifies both signatures in a certificate, which costs more than all the rest of a handshake. It is
/// asked once, when the certificate comes; what is read of it after that is read without.
#[derive(Debug)]
pub(super) struct Verifier(pub(super) WebPkiSupportedAlgorithms);

/// The extension that has the peer's key: 1.3.6.1.4.1.53594.1.1.
const KEY_EXTENSION: &[u8] = &[0x2b, 6, 1, 4, 1, 0x83, 0xa2, 0x5a, 1, 1];

/// Signatures that a certificate may be made with.
const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        check(certificate, others)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refused()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        check(certificate, others)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refused()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

fn check(certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
    if !others.is_empty() {
        return Err(Error::General("a peer has exactly one certificate".to_owned()));
    }
    parse(certificate)?;
    Ok(())
}

impl Verifier {
    /// Checks that whoever sent a certificate, which has been [checked](check), has its key.
    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let certificate = read(certificate).ok_or(CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.0)
    }
}

/// Whose certificate it is, one that a handshake has accepted.
pub(super) fn peer(certificate: &CertificateDer<'_>) -> Option<PeerId> {
    let certificate = read(certificate)?;
    let mut extensions = certificate.extensions().iter();
    let extension = extensions.find(|extension| extension.oid.as_bytes() == KEY_EXTENSION)?;
    // SignedKey ::= SEQUENCE { publicKey OCTET STRING, signature OCTET STRING }
    let (_, signed_key) = Sequence::from_der(extension.value).ok()?;
    let (_, key) = OctetString::from_der(&signed_key.content).ok()?;
    let key = PublicKey::try_decode_protobuf(key.as_ref()).ok()?;
    Some(key.to_peer_id())
}

fn read<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate)
}

/// TLS 1.2 is not offered, so nobody should ever ask.
fn refused() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerIncompatible::Tls12NotOffered.into())
}

#[cfg(test)]
mod tests {
    use libp2p_identity::Keypair;
    use libp2p_tls::certificate::generate;

    use super::*;

    #[test]
    fn what_is_read_without_verifying_is_what_libp2p_reads() {
        for key in [Keypair::generate_ed25519(), Keypair::generate_ed25519()] {
            let (certificate, _) = generate(&key).unwrap();
            assert_eq!(peer(&certificate), Some(key.public().to_peer_id()));
            assert_eq!(parse(&certificate).unwrap().peer_id(), key.public().to_peer_id());
        }
        assert_eq!(peer(&CertificateDer::from(&b"none"[..])), None);
    }

    #[test]
    fn a_certificate_that_was_changed_is_not_accepted_or_says_the_same() {
        let (certificate, _) = generate(&Keypair::generate_ed25519()).unwrap();
        let said = |certificate: &CertificateDer<'_>| {
            let key = read(certificate).unwrap().public_key().raw.to_vec();
            (peer(certificate), key)
        };
        let mut accepted = 0;
        for at in 0..certificate.len() {
            let mut changed = certificate.to_vec();
            changed[at] ^= 1;
            let changed = CertificateDer::from(changed);
            if check(&changed, &[]).is_ok() {
                assert_eq!(said(&changed), said(&certificate), "byte {at}");
                accepted += 1;
            }
        }
        // What is around the signature, and means nothing.
        assert!(accepted < 8, "{accepted} of {}", certificate.len());
        assert!(check(&certificate, &[]).is_ok());
        assert!(check(&certificate, std::slice::from_ref(&certificate)).is_err());
    }
}
