//! Reads one file strictly, and finds every mistake in it.
use std::{fs::File, io::Read, path::Path as FilePath};

use cardume_node::Config;
use figment::value::Value;
use serde::Deserialize;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    MAX_MISTAKES, Mistake, Place,
    layer::{Layer, Path},
    wording::reword,
};

/// Bytes of a configuration file; a larger one is no configuration.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the file at `path` as a layer.
///
/// # Errors
/// All mistakes, each with its place.
pub(super) fn file(path: &FilePath) -> Result<Layer, Vec<Mistake>> {
    let whole = |reason: String| {
        let place = Place::WholeFile {
            file: path.to_path_buf(),
        };
        vec![Mistake::new(place, reason)]
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| whole(format!("cannot read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(whole(
            "larger than 1 MiB, the limit for a configuration file".into(),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Document { path, text: &text }.layer(),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            Err(vec![Document { path, text: &text }.mistake(
                valid..valid + 1,
                "not UTF-8",
                None,
            )])
        }
    }
}

/// One file's text.
struct Document<'t> {
    path: &'t FilePath,
    text: &'t str,
}

impl Document<'_> {
    fn layer(&self) -> Result<Layer, Vec<Mistake>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let mut mistakes: Vec<Mistake> = errors
            .iter()
            .map(|error| {
                let span = error.span().unwrap_or(0..0);
                let reason = self.syntax(&span, error.message());
                self.mistake(span, &reason, None)
            })
            .collect();
        let typed = self.typed(table.clone());
        mistakes.extend(typed.into_iter().filter(|typed| {
            // What a broken line was recovered as says nothing about what was meant.
            !errors.iter().any(|error| {
                let (line, _) = self.position(error.span().unwrap_or(0..0).start);
                matches!(&typed.place, Place::File { line: other, .. } if *other == line)
            })
        }));
        if !mistakes.is_empty() {
            mistakes.sort_by_key(|mistake| match mistake.place {
                Place::File { line, column, .. } => (line, column),
                _ => (0, 0),
            });
            mistakes.truncate(MAX_MISTAKES);
            return Err(mistakes);
        }
        let mut layer = Layer {
            name: self.path.display().to_string(),
            ..Layer::default()
        };
        self.note_places(table.get_ref(), &mut Vec::new(), &mut layer);
        let values = toml::Table::deserialize(toml::Deserializer::from(table))
            .map_err(|error| vec![self.mistake(error.span().unwrap_or(0..0), error.message(), None)])?;
        if let Ok(Value::Dict(_, values)) = Value::serialize(values) {
            layer.values = values;
        }
        Ok(layer)
    }

    /// A mistake of syntax in plain words. A bare word that begins like `inf` or `nan` is still a word.
    fn syntax(&self, span: &std::ops::Range<usize>, message: &str) -> String {
        let text = self.text.get(span.start..).unwrap_or_default();
        let begins_word = text.starts_with(|c: char| c.is_ascii_alphabetic());
        if begins_word && (message.starts_with("invalid float") || message.starts_with("string values")) {
            return "a text must stand in quotes".into();
        }
        message.to_owned()
    }

    /// Mistakes against the types, found one by one: each is noted, taken out, and the rest is read again.
    fn typed(&self, mut table: Spanned<DeTable<'_>>) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for _ in 0..MAX_MISTAKES {
            let Err(error) = Config::deserialize(toml::Deserializer::from(table.clone())) else {
                break;
            };
            let Some(span) = error.span() else {
                mistakes.push(self.mistake(0..0, error.message(), None));
                break;
            };
            let mut path = Vec::new();
            let found = remove(table.get_mut(), &span, &mut path);
            // A drop-in may leave out what another file says; the merged whole is checked for it.
            if !error.message().starts_with("missing field") {
                path.pop();
                let wording = reword(error.message(), &path);
                mistakes.push(self.mistake(span, &wording.reason, wording.hint));
            }
            if !found {
                break;
            }
        }
        mistakes
    }

    fn note_places(&self, table: &DeTable<'_>, path: &mut Path, layer: &mut Layer) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            let (line, column) = self.position(key.span().start);
            layer.places.insert(
                path.clone(),
                Place::File {
                    file: self.path.to_path_buf(),
                    line,
                    column,
                },
            );
            if let Some(inner) = value.get_ref().as_table() {
                self.note_places(inner, path, layer);
            }
            path.pop();
        }
    }

    fn mistake(&self, span: std::ops::Range<usize>, reason: &str, hint: Option<String>) -> Mistake {
        /// Characters of a line that are shown.
        const MAX_SHOWN: usize = 160;
        let (line, column) = self.position(span.start);
        let place = Place::File {
            file: self.path.to_path_buf(),
            line,
            column,
        };
        let shown = self.text.lines().nth(line - 1).unwrap_or_default();
        let shown: String = shown
            .chars()
            .take(MAX_SHOWN)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let width = self.text.get(span).map_or(1, |text| {
            text.lines().next().map_or(1, |line| line.chars().count())
        });
        Mistake {
            text: Some(shown),
            width,
            ..Mistake::new(place, reason).hint(hint)
        }
    }

    /// Line and column of a byte, both from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (line, column)
    }
}

/// Takes out the innermost key or value that stands at `span`; `path` then leads to it.
fn remove(table: &mut DeTable<'_>, span: &std::ops::Range<usize>, path: &mut Path) -> bool {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        path.push(key.get_ref().to_string());
        if let DeValue::Table(inner) = value.get_mut()
            && remove(inner, span, path)
        {
            return true;
        }
        if let DeValue::Array(items) = value.get_ref()
            && value.span() != *span
            && items.iter().any(|item| item.span() == *span)
        {
            // The others of the list may be wrong too.
            let taken = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
            if let DeValue::Array(items) = taken {
                let others = items.into_iter().filter(|item| item.span() != *span);
                *value.get_mut() = DeValue::Array(others.collect());
            }
            return true;
        }
        let listed = matches!(value.get_ref(), DeValue::Array(items) if holds(items, span));
        if key.span() == *span || value.span() == *span || listed {
            found = Some(key.clone());
            break;
        }
        path.pop();
    }
    found.is_some_and(|key| table.remove(&key).is_some())
}

/// Whether an item of a list, at any depth, stands at `span`.
fn holds(items: &[Spanned<DeValue<'_>>], span: &std::ops::Range<usize>) -> bool {
    items.iter().any(|item| {
        item.span() == *span
            || match item.get_ref() {
                DeValue::Array(inner) => holds(inner, span),
                DeValue::Table(inner) => inner
                    .iter()
                    .any(|(key, value)| key.span() == *span || value.span() == *span),
                _ => false,
            }
    })
}
