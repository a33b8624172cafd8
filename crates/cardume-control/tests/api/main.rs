//! The API as callers meet it: a real socket, a real store, a real exchange; only the swarm is missing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod content;
mod daemon;
mod doctor;
mod door;
mod events;
mod logins;
mod metrics;
mod operations;
mod remote;
mod tunnels;

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

/// The guide, which speaks of paths as `GET /v1/x` and, for several methods, as `GET`, `PUT /v1/x`.
const GUIDE: &str = include_str!("../../../../docs/control-api.md");

#[test]
fn the_guide_names_no_path_that_is_not_there() {
    let description = serde_json::to_value(openapi()).unwrap();
    let mut found = 0;
    for quoted in GUIDE.split('`').skip(1).step_by(2) {
        let (method, path) = quoted.rsplit_once(' ').unwrap_or(("", quoted));
        if !path.starts_with("/v1/") || path == "/v1/" {
            continue;
        }
        let known = &description["paths"][path];
        assert!(known.is_object(), "{quoted}: there is no such path");
        let method = method.to_lowercase();
        assert!(
            method.is_empty() || known[&method].is_object(),
            "{quoted}: it does not take that"
        );
        found += 1;
    }
    assert!(found > 30, "only {found} paths found in the guide");
}

#[test]
fn the_guide_has_the_codes_as_they_are() {
    use cardume_api::Code;
    let mut rows = 0;
    for row in GUIDE
        .lines()
        .filter(|line| line.starts_with("| `") && line.matches('|').count() == 5)
    {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let code: Code = serde_json::from_value(cells[1].into()).unwrap();
        let told = (
            code.as_str(),
            code.http_status().to_string(),
            code.exit_status().to_string(),
        );
        assert_eq!(told, (cells[1], cells[2].to_owned(), cells[3].to_owned()));
        rows += 1;
    }
    assert_eq!(rows, 12);
}
