//! Values given without a file: environment variables and `--set`.
use std::collections::BTreeMap;

use cardume_node::Config;
use figment::value::Value;
use serde::Deserialize;

use super::{
    Mistake, Place,
    layer::{Layer, Path},
    wording::{Wording, reword, suggest},
};

/// Variables that are no keys. `CARDUME_LOG` stands for `log.level`.
pub(crate) const RESERVED: [&str; 5] = [
    "CARDUME_CONFIG",
    "CARDUME_API",
    "CARDUME_CA_FILE",
    "CARDUME_TOKEN_FILE",
    "CARDUME_LOG",
];

/// Reads every `CARDUME_<SECTION>__<KEY>`.
///
/// # Errors
/// All mistakes, each with its variable: unknown names too.
pub(super) fn environment(variables: &BTreeMap<String, String>) -> Result<Layer, Vec<Mistake>> {
    let mut layer = Layer {
        name: "environment".into(),
        ..Layer::default()
    };
    let mut mistakes = Vec::new();
    for (name, text) in variables {
        let Some(key) = name.strip_prefix("CARDUME_") else {
            continue;
        };
        let place = Place::Variable {
            variable: name.clone(),
        };
        let path: Path = match name.as_str() {
            "CARDUME_LOG" if !text.is_empty() => vec!["log".into(), "level".into()],
            reserved if RESERVED.contains(&reserved) => continue,
            _ if key.split("__").count() > 1 && key.split("__").all(|part| !part.is_empty()) => {
                key.split("__").map(str::to_lowercase).collect()
            }
            _ => {
                mistakes.push(unknown_variable(name, place));
                continue;
            }
        };
        give(&mut layer, &path, text, place, &mut mistakes);
    }
    finish(layer, mistakes)
}

/// Reads every `--set section.key=value`.
///
/// # Errors
/// All mistakes, each with its option.
pub(super) fn options(set: &[String]) -> Result<Layer, Vec<Mistake>> {
    let mut layer = Layer {
        name: "command line".into(),
        ..Layer::default()
    };
    let mut mistakes = Vec::new();
    for option in set {
        let place = Place::Option {
            option: format!("--set {option}"),
        };
        let path = option
            .split_once('=')
            .and_then(|(key, text)| Some((dotted(key)?, text)));
        match path {
            Some((path, text)) => give(&mut layer, &path, text, place, &mut mistakes),
            None => mistakes.push(
                Mistake::new(place, "not of the form section.key=value")
                    .hint(Some("for example --set log.level=debug")),
            ),
        }
    }
    finish(layer, mistakes)
}

fn finish(layer: Layer, mistakes: Vec<Mistake>) -> Result<Layer, Vec<Mistake>> {
    if mistakes.is_empty() {
        Ok(layer)
    } else {
        Err(mistakes)
    }
}

fn unknown_variable(name: &str, place: Place) -> Mistake {
    let section = name
        .trim_start_matches("CARDUME_")
        .trim_end_matches('_')
        .to_lowercase();
    let path = vec![section.clone()];
    if fits(&path, &toml::Table::new().into()).is_ok() {
        let hint = format!(
            "the keys of [{section}] are set with CARDUME_{}__<KEY>",
            section.to_uppercase()
        );
        return Mistake::new(place, "names a section and no key").hint(Some(hint));
    }
    let near =
        suggest(name, &RESERVED).filter(|hint| hint.starts_with("did you mean") && !name.contains("__"));
    let hint = near.unwrap_or_else(|| "keys are set with CARDUME_<SECTION>__<KEY>".into());
    Mistake::new(place, "unknown variable").hint(Some(hint))
}

/// A key as TOML writes it: `a.b`, `peer."my.nas".keep`.
fn dotted(key: &str) -> Option<Path> {
    let mut table: toml::Table = toml::from_str(&format!("{key} = 0")).ok()?;
    let mut path = Vec::new();
    loop {
        let mut entries = table.into_iter();
        let (name, value) = entries.next()?;
        if entries.next().is_some() {
            return None;
        }
        path.push(name);
        match value {
            toml::Value::Table(inner) => table = inner,
            _ => return (path.len() > 1).then_some(path),
        }
    }
}

fn give(layer: &mut Layer, path: &Path, text: &str, place: Place, mistakes: &mut Vec<Mistake>) {
    match read(path, text) {
        Ok(value) => {
            if layer.set(path, value, place.clone()).is_none() {
                let reason = format!("{} is set as a value and as a table", path.join("."));
                mistakes.push(Mistake::new(place, reason));
            }
        }
        Err(wording) => mistakes.push(Mistake::new(place, wording.reason).hint(wording.hint)),
    }
}

/// Reads `text` as whatever the key takes: TOML, a bare string, or a list of strings between commas.
fn read(path: &Path, text: &str) -> Result<Value, Wording> {
    let list = text.split(',').map(|item| item.trim().into()).collect();
    let bare = toml::Value::String(text.to_owned());
    let mut said: Option<String> = None;
    for value in toml_value(text)
        .into_iter()
        .chain([bare, toml::Value::Array(list)])
    {
        match fits(path, &value) {
            Ok(()) => {
                return Value::serialize(value).map_err(|error| Wording {
                    reason: error.to_string(),
                    hint: None,
                });
            }
            // Only a list can say what is wrong inside a list; otherwise the first reading counts.
            Err(message) => match &said {
                Some(first) if !first.ends_with("expected a sequence") => {}
                _ => said = Some(message),
            },
        }
    }
    let said = said.unwrap_or_default();
    // It is the outermost name that is unknown, when several are.
    let unknown = said
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split('`').next());
    let depth = unknown.and_then(|name| path.iter().position(|part| part == name));
    let table = path.get(..depth.unwrap_or_else(|| path.len().saturating_sub(1)));
    Err(reword(&said, table.unwrap_or_default()))
}

fn toml_value(text: &str) -> Option<toml::Value> {
    toml::Value::deserialize(toml::de::ValueDeserializer::parse(text).ok()?).ok()
}

/// Whether the key takes the value. A key of the same table that is missing may be set elsewhere.
fn fits(path: &Path, value: &toml::Value) -> Result<(), String> {
    let mut value = value.clone();
    for name in path.iter().rev() {
        value = toml::Value::Table([(name.clone(), value)].into_iter().collect());
    }
    match Config::deserialize(value) {
        Err(error) if !error.message().starts_with("missing field") => Err(error.message().to_owned()),
        _ => Ok(()),
    }
}
