//! Whether others let the node into a closed network.
use cardume_api::MemberCertificate;
use cardume_node::{config::Access, identity};

use super::{Finding, Patient};

pub(super) fn look(patient: &Patient) -> Vec<Finding> {
    if patient.config.network.access != Access::Certified {
        return Vec::new();
    }
    let running = patient.daemon.as_ref().map(|daemon| &daemon.status.membership);
    match running.and_then(|membership| membership.certificate.as_ref()) {
        Some(certificate) => vec![of(certificate)],
        None => on_disk(patient),
    }
}

fn of(certificate: &MemberCertificate) -> Finding {
    let remedy =
        "have a new one signed (`cardume member sign`), and put it in the place of network.certificate_file";
    let what = |state: &str| format!("certificate {}: {state}", certificate.serial);
    match &certificate.problem {
        Some(problem) => Finding::wrong("member", what(problem), remedy),
        None if certificate.expires_soon => {
            let remedy = Some(remedy.to_owned());
            Finding {
                remedy,
                ..Finding::note("member", what("it expires soon"))
            }
        }
        None => Finding::ok("member", what("it is good")),
    }
}

/// What the files say, without a daemon.
fn on_disk(patient: &Patient) -> Vec<Finding> {
    let local = identity::load(&patient.key_file).ok();
    let local = local.map(|key| key.public().to_peer_id());
    let mistakes = patient.config.network.check(local);
    if mistakes.is_empty() {
        return vec![Finding::ok("member", "the certificate is good")];
    }
    let wrong = |error: &cardume_membership::BuildError| {
        Finding::wrong("member", format!("{}: {error}", error.key()), error.remedy())
    };
    mistakes.iter().map(wrong).collect()
}
