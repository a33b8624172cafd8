//! Strings that peers chose, made safe to print.

/// Longer strings are cut: nobody reads more, and logs and terminals are not theirs to fill.
const MAX_BYTES: usize = 128;

/// `text` with everything escaped that could steer a terminal, cut at a length in bytes.
pub(crate) fn tame(text: &str) -> String {
    let mut tamed = String::new();
    for character in text.chars() {
        let escaped = character.escape_debug();
        if tamed.len() + escaped.clone().map(char::len_utf8).sum::<usize>() > MAX_BYTES {
            break;
        }
        tamed.extend(escaped);
    }
    tamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        assert_eq!(tame("/cardume/main/transfer/1"), "/cardume/main/transfer/1");
        assert_eq!(tame("cardume/0.1.0 (größe)"), "cardume/0.1.0 (größe)");
    }

    #[test]
    fn escapes_for_terminals_do_not_get_through() {
        assert_eq!(tame("\x1b]0;x\x07\n\u{202e}"), r"\u{1b}]0;x\u{7}\n\u{202e}");
    }

    #[test]
    fn long_strings_are_cut_between_characters() {
        assert_eq!(tame(&"a".repeat(1000)).len(), MAX_BYTES);
        assert_eq!(tame(&"ü".repeat(1000)).len(), MAX_BYTES);
        assert!(tame(&"\0".repeat(1000)).ends_with(r"\0"));
    }
}
