//! Turns what serde says into what the writer of a configuration wants to read.

/// A reason in the file's words, and what may have been meant.
pub(super) struct Wording {
    pub(super) reason: String,
    pub(super) hint: Option<String>,
}

/// Rewords `message`; `path` is the table it was said of, outermost first.
pub(super) fn reword(message: &str, path: &[String]) -> Wording {
    let message = message.trim_end();
    if let Some(wording) = address_or_id(message) {
        return wording;
    }
    for (said, noun) in [("unknown field", "key"), ("unknown variant", "value")] {
        if let Some(rest) = message.strip_prefix(said) {
            let mut names = quoted(rest);
            let name = names.next().unwrap_or_default().to_owned();
            let known: Vec<&str> = names.collect();
            let place = match (noun, path) {
                ("key", []) => " at the top level".to_owned(),
                ("key", path) => format!(" in [{}]", path.join(".")),
                _ => String::new(),
            };
            return Wording {
                reason: format!("unknown {noun} {name:?}{place}"),
                hint: suggest(&name, &known),
            };
        }
    }
    Wording {
        reason: plain(message),
        hint: None,
    }
}

/// What an address or a peer id that cannot be read is told as: their crates speak of their own insides.
fn address_or_id(message: &str) -> Option<Wording> {
    let (noun, why, hint) = if let Some(why) = message.strip_prefix("failed to parse: ") {
        let why = match why {
            "number too large to fit in target type" => "a number in it is too large (ports end at 65535)",
            "invalid digit found in string" => "there is no number where one should be",
            "invalid multihash" => "what follows /p2p/ is no peer id",
            why => why,
        };
        let hint = "write it like /ip4/192.0.2.1/udp/4011/quic-v1, with /p2p/PEER_ID behind it where a peer is named";
        ("multiaddr", why, hint)
    } else if message == "invalid multiaddr" || message == "invalid multiaddress" {
        let hint = "write it like /ip4/192.0.2.1/udp/4011/quic-v1, with /p2p/PEER_ID behind it where a peer is named";
        ("multiaddr", "it does not begin with /ip4, /ip6 or /dns", hint)
    } else if message == "invalid socket address syntax" {
        return Some(Wording {
            reason: "no IP address and port".into(),
            hint: Some("write it like 127.0.0.1:9464 or [::1]:9464".into()),
        });
    } else if message.starts_with("invalid multihash") || message.starts_with("base-58 decode error") {
        (
            "peer id",
            "it does not decode",
            "`cardume id` on that machine prints it; it begins with 12D3KooW",
        )
    } else {
        return None;
    };
    Some(Wording {
        reason: format!("no {noun}: {why}"),
        hint: Some(hint.into()),
    })
}

/// `did you mean …`, or everything there is when nothing is near.
pub(super) fn suggest(name: &str, known: &[&str]) -> Option<String> {
    if known.is_empty() {
        return None;
    }
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, candidate)) if distance <= 1 + name.chars().count() / 3 => {
            Some(format!("did you mean {candidate:?}?"))
        }
        _ => Some(format!("known are {}", known.join(", "))),
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Rust's type names in plain words.
fn plain(message: &str) -> String {
    let mut text = message
        .replace("invalid type: ", "wrong type: ")
        .replace("wanted string or table", "wrong type: expected a word in quotes")
        .replace("expected multiaddress", "expected a multiaddr in quotes")
        .replace(
            "string values must be quoted, expected literal string",
            "a text must stand in quotes",
        )
        .replace("missing field", "missing key")
        .replace("a sequence", "a list")
        .replace("sequence", "a list")
        .replace("a map", "a table")
        .replace(": map", ": a table");
    for integer in ["u8", "u16", "u32", "u64", "usize", "i64"] {
        if let Some(head) = text.strip_suffix(&format!("expected {integer}")) {
            text = format!("{head}expected a whole number from 0");
        }
    }
    if let Some(start) = text.find("expected struct ") {
        text.truncate(start);
        text.push_str("expected a table");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_key_is_suggested() {
        let said = "unknown field `adresses`, expected `addresses` or `announce`";
        let wording = reword(said, &["listen".into()]);
        assert_eq!(wording.reason, r#"unknown key "adresses" in [listen]"#);
        assert_eq!(wording.hint.as_deref(), Some(r#"did you mean "addresses"?"#));
    }

    #[test]
    fn all_known_keys_are_named_when_none_is_near() {
        let wording = reword("unknown variant `loud`, expected one of `auto`, `json`", &[]);
        assert_eq!(wording.reason, r#"unknown value "loud""#);
        assert_eq!(wording.hint.as_deref(), Some("known are auto, json"));
    }

    #[test]
    fn rust_types_are_not_shown() {
        let reason = reword(r#"invalid type: string "a", expected u32"#, &[]).reason;
        assert_eq!(
            reason,
            r#"wrong type: string "a", expected a whole number from 0"#
        );
    }
}
