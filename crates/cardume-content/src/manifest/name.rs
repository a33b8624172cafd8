//! File names that can do no harm.
use std::fmt;

use super::ManifestError;

/// Most bytes of a name: what file systems allow.
pub const MAX_NAME_LEN: usize = 255;

/// A safe file name: not empty, no `.`/`..`, no `/`, `\`, NUL or control characters, at most 255 bytes.
///
/// Control characters are those of ASCII and of Latin-1 (C0, DEL, C1: they drive terminals), the line and
/// paragraph separators, and the characters that override or isolate the direction of text (they make
/// `exe.gpj` look like `jpg.exe`). Direction marks and joiners are allowed: scripts need them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// Fails with [`ManifestError::Name`], which says what is unsafe.
    pub fn new(name: impl Into<String>) -> Result<Self, ManifestError> {
        let name = name.into();
        match fault(&name) {
            None => Ok(Self(name)),
            Some(reason) => Err(ManifestError::Name {
                name: cut(&name),
                reason,
            }),
        }
    }

    /// Shows the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as file systems compare it that ignore case.
    pub(super) fn fold_case(&self) -> String {
        // By way of upper case, so that `ß` meets `SS` and `ſ` meets `s`.
        self.0
            .chars()
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
            .collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = ManifestError;

    fn try_from(name: String) -> Result<Self, ManifestError> {
        Self::new(name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// What is unsafe about a name.
pub(super) fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > MAX_NAME_LEN {
        return Some("it is longer than 255 bytes");
    }
    if matches!(name, "." | "..") {
        return Some("it means a directory already there");
    }
    name.chars().find_map(char_fault)
}

/// What is unsafe about a character.
pub(super) fn char_fault(c: char) -> Option<&'static str> {
    match c {
        '/' | '\\' => Some("it has a path separator in it"),
        '\0' => Some("it has a NUL in it"),
        '\u{2028}' | '\u{2029}' => Some("it has a line separator in it"),
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some("it changes the direction of text"),
        _ if c.is_control() => Some("it has a control character in it"),
        _ => None,
    }
}

/// Cuts a peer's text for an error.
pub(super) fn cut(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain(std::iter::once('…')).collect()
}
