//! Who belongs to the network.
use cardume_api::{MemberCertificate, Membership, Revocations};
use cardume_membership::{Handle, Own};

/// How it stands with the network.
pub(super) fn told(handle: &Handle) -> Membership {
    let revocations = handle.revocations();
    Membership {
        access: handle.access().as_str().to_owned(),
        certificate: handle.own().map(|own| certificate(&own)),
        revocations: revocations
            .iter()
            .map(|list| Revocations {
                authority: list.authority().to_string(),
                number: list.number(),
                entries: list.len() as u64,
            })
            .collect(),
        refused: handle
            .refusals()
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect(),
    }
}

fn certificate(own: &Own) -> MemberCertificate {
    let terms = own.certificate.terms();
    MemberCertificate {
        serial: terms.serial.to_string(),
        authority: own.certificate.authority().to_string(),
        groups: terms.groups.iter().cloned().collect(),
        from: terms.from,
        until: terms.until,
        expires_soon: own.ends_soon,
        problem: own
            .flaw
            .map(|flaw| format!("it {flaw}: no member lets this node in")),
    }
}
