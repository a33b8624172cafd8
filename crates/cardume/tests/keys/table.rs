//! The table, held against the configuration as the program describes it, and against the tests.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::home;

/// A key, the file of a test, and the test's name in each line. `*` stands for a name that the operator chooses.
const TABLE: &str = include_str!("table.txt");

/// The tests of the table by their keys, of which none may be there twice.
fn table() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let mut table = BTreeMap::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<_> = line.split_whitespace().collect();
        let [key, file, test] = words[..] else {
            panic!("{line:?} is not a key, a file and a test");
        };
        assert_eq!(table.insert(key, (file, test)), None, "{key} is there twice");
    }
    table
}

/// Every key of the schema that `config schema` prints.
fn keys() -> Vec<String> {
    let schema = home().json(["config", "schema"]).unwrap();
    let (mut keys, mut waiting) = (Vec::new(), vec![(String::new(), &schema)]);
    while let Some((key, part)) = waiting.pop() {
        let inner = inner(&schema, part);
        if inner.is_empty() {
            keys.push(key);
            continue;
        }
        waiting.extend(inner.into_iter().map(|(name, part)| match key.as_str() {
            "" => (name.to_owned(), part),
            key => (format!("{key}.{name}"), part),
        }));
    }
    keys
}

/// What is in a table of the schema; nothing if it is none.
fn inner<'s>(schema: &'s Value, part: &'s Value) -> Vec<(&'s str, &'s Value)> {
    if let Some(path) = part["$ref"].as_str() {
        return inner(schema, schema.pointer(&path[1..]).unwrap());
    }
    // A table that may be left out is one of two.
    if let Some(any) = part["anyOf"].as_array() {
        return any.iter().flat_map(|one| inner(schema, one)).collect();
    }
    if let Some(named) = part["properties"].as_object() {
        return named.iter().map(|(name, part)| (name.as_str(), part)).collect();
    }
    match part["additionalProperties"].is_object() {
        true => vec![("*", &part["additionalProperties"])],
        false => Vec::new(),
    }
}

#[test]
fn every_key_of_the_configuration_has_a_test_that_shows_its_effect() {
    let (table, keys) = (table(), keys());
    assert!(keys.len() > 100, "the schema is not read right: {keys:?}");
    let missing: Vec<_> = keys
        .iter()
        .filter(|key| !table.contains_key(key.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "enter in tests/keys/table.txt the tests that show what these do, or remove them: {missing:#?}"
    );
    let gone: Vec<_> = table
        .keys()
        .filter(|key| !keys.iter().any(|known| known == *key))
        .collect();
    assert!(gone.is_empty(), "these are no keys any more: {gone:#?}");
}

#[test]
fn every_test_of_the_table_is_there() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (key, (file, test)) in table() {
        let text = fs::read_to_string(workspace.join(file));
        let text = text.unwrap_or_else(|error| panic!("{key}: {file}: {error}"));
        let at = text.find(&format!("fn {test}("));
        let at = at.unwrap_or_else(|| panic!("{key}: there is no test {test} in {file}"));
        // Its attributes, and what is before it.
        let before = text[..at].rsplit("\n}\n").next().unwrap();
        assert!(
            before.contains("#[test]") || before.contains("#[tokio::test"),
            "{key}: {test} in {file} is no test"
        );
    }
}
