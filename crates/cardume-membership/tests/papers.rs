//! Certificates and lists of revocations: what is signed, what is taken, and what is not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::{
    collections::BTreeSet,
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cardume_membership::{
    Armored as _, Authority, Certificate, Flaw, MAX_CERTIFICATE, RevocationList, Revoked, Serial, SignError,
    Terms,
};
use libp2p_identity::{Keypair, PeerId};
use proptest::prelude::*;

const DAY: u64 = 86_400;

static KEY: LazyLock<Keypair> = LazyLock::new(Keypair::generate_ed25519);
static CERTIFICATE: LazyLock<Certificate> = LazyLock::new(|| sign(terms()));
static LIST: LazyLock<RevocationList> = LazyLock::new(|| {
    let revoked = [Revoked::Serial(Serial::random()), Revoked::Peer(PeerId::random())];
    RevocationList::sign("garden", None, &revoked, &KEY, at(5 * DAY)).unwrap()
});

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn terms() -> Terms {
    Terms {
        network: "garden".into(),
        peer: PeerId::random(),
        groups: ["eu", "web"].map(str::to_owned).into(),
        from: DAY,
        until: 10 * DAY,
        serial: Serial::random(),
    }
}

fn sign(terms: Terms) -> Certificate {
    Certificate::sign(terms, &KEY).unwrap()
}

fn trusted() -> [Authority; 1] {
    [Authority::of(&KEY).unwrap()]
}

#[test]
fn what_was_signed_is_read_from_bytes_and_from_text() {
    let certificate = &*CERTIFICATE;
    assert_eq!(Certificate::decode(certificate.bytes()).unwrap(), *certificate);
    let text = format!("a note\n{}another", certificate.armor());
    assert!(text.lines().all(|line| line.len() <= 64));
    assert_eq!(
        Certificate::unarmor(&text).unwrap(),
        std::slice::from_ref(certificate)
    );
    let two = LIST.armor() + &text + &LIST.armor();
    assert_eq!(RevocationList::unarmor(&two).unwrap().len(), 2);
    assert!(Certificate::unarmor("nothing").unwrap().is_empty());
    let cut = &text[..text.len() - 40];
    assert_eq!(Certificate::unarmor(cut), Err(Flaw::Malformed));

    let authority = certificate.authority();
    assert_eq!(authority.to_string().parse(), Ok(authority.clone()));
    let serial = certificate.terms().serial;
    assert_eq!(serial.to_string().parse(), Ok(serial));
    assert!("12".parse::<Serial>().is_err() && "+123456789abcdef".parse::<Serial>().is_err());
}

#[test]
fn a_certificate_makes_its_peer_a_member_of_its_network_in_its_time_for_who_trusts_its_authority() {
    let certificate = &*CERTIFICATE;
    let check = |network: &str, peer: &PeerId, authorities: &[Authority], now| {
        certificate.check(network, peer, authorities, at(now))
    };
    let peer = certificate.terms().peer;
    let trusted = trusted();
    let new = [
        Authority::of(&Keypair::generate_ed25519()).unwrap(),
        trusted[0].clone(),
    ];
    assert_eq!(check("garden", &peer, &trusted, 2 * DAY), Ok(()));
    assert_eq!(
        check("garden", &peer, &new, 2 * DAY),
        Ok(()),
        "while keys are changed"
    );
    assert_eq!(
        check("garden", &peer, &trusted, DAY - 100),
        Ok(()),
        "clocks differ"
    );
    assert_eq!(check("garden", &peer, &trusted, DAY - 400), Err(Flaw::NotYet));
    assert_eq!(
        check("garden", &peer, &trusted, 0),
        Err(Flaw::NotYet),
        "a clock that was never set"
    );
    assert_eq!(check("garden", &peer, &trusted, 10 * DAY), Err(Flaw::Expired));
    assert_eq!(check("yard", &peer, &trusted, 2 * DAY), Err(Flaw::OtherNetwork));
    assert_eq!(
        check("garden", &PeerId::random(), &trusted, 2 * DAY),
        Err(Flaw::OtherPeer)
    );
    assert_eq!(
        check("garden", &peer, &new[..1], 2 * DAY),
        Err(Flaw::UnknownAuthority)
    );
    assert_eq!(check("garden", &peer, &[], 2 * DAY), Err(Flaw::UnknownAuthority));
}

#[test]
fn a_new_certificate_is_asked_for_when_a_third_of_the_time_is_left_or_fourteen_days() {
    assert!(!CERTIFICATE.ends_soon(at(6 * DAY)) && CERTIFICATE.ends_soon(at(8 * DAY)));
    assert!(CERTIFICATE.ends_soon(at(99 * DAY)));
    let long = sign(Terms {
        until: 101 * DAY,
        ..terms()
    });
    assert!(!long.ends_soon(at(86 * DAY)) && long.ends_soon(at(88 * DAY)));
}

#[test]
fn what_could_not_be_read_again_is_not_signed() {
    let with = |change: fn(&mut Terms)| {
        let mut terms = terms();
        change(&mut terms);
        Certificate::sign(terms, &KEY).unwrap_err()
    };
    assert!(matches!(
        with(|t| t.network = "Garden".into()),
        SignError::Network(_)
    ));
    for group in ["", "a b", "a:b", "a,b", "\u{1b}"] {
        let mut terms = terms();
        terms.groups.insert(group.into());
        assert!(
            matches!(Certificate::sign(terms, &KEY), Err(SignError::Group(_))),
            "{group:?}"
        );
    }
    let many = |count: usize, length: usize| {
        let mut terms = terms();
        terms.groups = (0..count)
            .map(|n| format!("{n:0length$}"))
            .collect::<BTreeSet<_>>();
        Certificate::sign(terms, &KEY)
    };
    assert!(many(32, 50).unwrap().bytes().len() <= MAX_CERTIFICATE);
    assert_eq!(many(32, 64), Err(SignError::TooLarge));
    assert_eq!(many(33, 2), Err(SignError::TooLarge));
    assert_eq!(with(|t| t.until = t.from), SignError::Lifetime);
    assert_eq!(with(|t| t.until = t.from + 11 * 366 * DAY), SignError::Lifetime);
    assert_eq!(with(|t| t.until = u64::MAX), SignError::Lifetime);
}

#[test]
fn a_list_revokes_by_number_by_certificate_and_all_that_a_peer_has_had() {
    let [a, b, c, d] = [(); 4].map(|()| sign(terms()));
    let revoked = [
        Revoked::Serial(a.terms().serial),
        Revoked::Certificate(Box::new(b.clone())),
        Revoked::Peer(c.terms().peer),
    ];
    let list = RevocationList::sign("garden", None, &revoked, &KEY, at(5 * DAY)).unwrap();
    assert!(list.revokes(&a) && list.revokes(&b) && list.revokes(&c) && !list.revokes(&d));
    assert_eq!(list.len(), 3);
    let renewed = sign(Terms {
        peer: c.terms().peer,
        from: 5 * DAY + 1,
        ..terms()
    });
    assert!(
        !list.revokes(&renewed),
        "what a peer is given later is good again"
    );
    let other = Certificate::sign(a.terms().clone(), &Keypair::generate_ed25519()).unwrap();
    assert!(
        !list.revokes(&other),
        "an authority takes back what it has given itself"
    );
}

#[test]
fn a_list_grows_by_what_is_revoked_and_forgets_what_has_expired() {
    let [a, b] = [(); 2].map(|()| sign(terms()));
    let first = RevocationList::sign(
        "garden",
        None,
        &[Revoked::Certificate(Box::new(a.clone()))],
        &KEY,
        at(5 * DAY),
    )
    .unwrap();
    assert_eq!(first.number(), 5 * DAY);
    let extended = |now| {
        RevocationList::sign(
            "garden",
            Some(&first),
            &[Revoked::Certificate(Box::new(b.clone()))],
            &KEY,
            at(now),
        )
    };
    let second = extended(5 * DAY).unwrap();
    assert_eq!(
        second.number(),
        5 * DAY + 1,
        "newer, though the clock has not moved"
    );
    assert!(second.revokes(&a) && second.revokes(&b));
    let late = extended(11 * DAY).unwrap();
    assert!(late.is_empty() && late.number() == 11 * DAY);
    let many: Vec<_> = (0..2_000).map(|_| Revoked::Peer(PeerId::random())).collect();
    let full = RevocationList::sign("garden", None, &many, &KEY, at(5 * DAY));
    assert_eq!(full, Err(SignError::Full));
    assert!(RevocationList::sign("garden", None, &many[..1_000], &KEY, at(5 * DAY)).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_certificate_with_any_byte_changed_is_refused(at in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let mut bytes = CERTIFICATE.bytes().to_vec();
        let index = at.index(bytes.len());
        bytes[index] ^= mask;
        prop_assert_eq!(Certificate::decode(&bytes), Err(Flaw::Malformed));
    }

    #[test]
    fn a_list_with_any_byte_changed_is_refused(at in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let mut bytes = LIST.bytes().to_vec();
        let index = at.index(bytes.len());
        bytes[index] ^= mask;
        prop_assert_eq!(RevocationList::decode(&bytes), Err(Flaw::Malformed));
    }

    #[test]
    fn a_certificate_that_is_cut_or_longer_is_refused(cut in any::<prop::sample::Index>(), more in 0..=255_u8) {
        let bytes = CERTIFICATE.bytes();
        prop_assert!(Certificate::decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(Certificate::decode(&[bytes, &[more]].concat()).is_err());
        prop_assert!(RevocationList::decode(bytes).is_err(), "signed for another purpose");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_can_be_signed_is_read_as_it_was(
        groups in prop::collection::btree_set("[a-z\u{e0}-\u{ff}._-]{1,20}", 0..8),
        from in 0..=253_000_000_000_u64,
        lifetime in 1..=300_000_000_u64,
    ) {
        let terms = Terms { groups, from, until: from + lifetime, ..terms() };
        let signed = sign(terms.clone());
        let read = Certificate::decode(signed.bytes()).unwrap();
        prop_assert_eq!(read.terms(), &terms);
        prop_assert_eq!(read.authority(), &trusted()[0]);
    }
}
