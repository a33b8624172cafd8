//! A member of a closed network whose certificate is not for long.
use std::fs;

use cardume_testkit::daemon::Home;

use super::{PROGRAM, Place, Prometheus, Takes, text};

const WEEK: f64 = 7.0 * 86_400.0;

/// A node runs with a certificate for six days, until it is given one for longer. Its gate turns somebody away, and it
/// knows of somebody whose certificate has been revoked.
pub(crate) fn certificate_expires(prometheus: &Prometheus, place: Place) -> Result<(), Takes> {
    let authority = Home::new(PROGRAM).unwrap();
    let made = authority
        .json(["key", "gen", "--authority", "-o", "authority.key"])
        .unwrap();
    let home = place.home("");
    let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let own = home.json(["key", "gen", &at("identity.key")]).unwrap();
    let own = text(&own["peer_id"]).to_owned();
    let former = authority.json(["key", "gen", "former.key"]).unwrap();
    let key = ["--key", "authority.key"];
    let (member, revocations) = (at("member"), at("revocations"));
    let sign = |time: &str| {
        let to = ["-o", &member, "--force", "--for", time];
        let words = ["member", "sign", &own].into_iter().chain(key).chain(to);
        authority.json(words).unwrap();
    };
    sign("6d");
    let list = ["--list", &revocations];
    let words = ["member", "revoke", text(&former["peer_id"])].into_iter();
    authority.json(words.chain(key).chain(list)).unwrap();
    let config = format!(
        "[identity]\nkey_file = {:?}\n[network]\naccess = \"certified\"\nauthorities = [{}]\n\
         certificate_file = {member:?}\nrevocations_file = {revocations:?}\n",
        at("identity.key"),
        made["authority"]
    );
    fs::write(home.path().join("cardume.toml"), config).unwrap();
    let node = home.start().unwrap();
    prometheus.fire(place.scraped, &["CardumeCertificateExpires"]);

    let stranger = Home::new(PROGRAM).unwrap().start().unwrap();
    // It may take itself for connected until it hears otherwise.
    stranger
        .run(["peer", "connect", &node.address(true).unwrap()])
        .unwrap();
    prometheus.see(
        "sum by (instance) (cardume_refused_connections_total)",
        place.scraped,
        |count| count > 0.0,
    );
    prometheus.see("cardume_revocations", place.scraped, |entries| entries > 0.0);

    sign("90d");
    let left = "cardume_certificate_expires_timestamp_seconds - time()";
    prometheus.see(left, place.scraped, |seconds| seconds > WEEK);
    prometheus.stop(place.scraped, &["CardumeCertificateExpires"]);
    Ok(())
}
