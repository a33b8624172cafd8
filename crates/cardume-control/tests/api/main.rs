//! The API as callers meet it: a real socket, a real store, a real exchange; only the swarm is missing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod content;
mod daemon;
mod door;
mod events;
mod operations;

use std::collections::HashSet;

use cardume_control::openapi;

#[test]
fn the_description_is_what_programs_were_written_against() {
    insta::assert_snapshot!(openapi().to_pretty_json().unwrap());
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let description = serde_json::to_value(openapi()).unwrap();
    let paths = description["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    let mut names = HashSet::new();
    for operation in operations {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} is there twice");
    }
}
