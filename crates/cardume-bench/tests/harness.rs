//! The harness does what it says, on work that takes no time.

use std::path::PathBuf;

use cardume_bench::{
    Plan,
    figures::{self, Sample},
    workload::{Scale, Workload},
};

/// The node built beside these tests, as a build of the workspace does.
fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let beside = own.parent()?.parent()?.join("cardume");
    if beside.exists() {
        return Some(beside);
    }
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    {
        eprintln!("SKIPPED: no {}; `cargo build` makes it", beside.display());
    }
    None
}

fn plan(workloads: Vec<Workload>, program: PathBuf) -> Plan {
    Plan {
        workloads,
        scale: Scale {
            size: Some(100 << 10),
            files: Some(5),
            fetchers: None,
        },
        runs: 1,
        warm_up: 0,
        only: vec!["cardume".into()],
        program,
        scratch: std::env::temp_dir(),
        idle: 0,
    }
}

#[test]
fn every_run_is_a_line_of_json_and_every_workload_a_table() {
    let Some(program) = program() else { return };
    let (mut lines, mut tables) = (Vec::new(), Vec::new());
    let mut plan = plan(
        vec![Workload::W4, Workload::W5, Workload::W8, Workload::Restart],
        program,
    );
    plan.only.extend(["by-hand".into(), "followed".into()]);
    plan.run(&mut lines, &mut |table| tables.push(table.to_owned()))
        .unwrap();
    let lines = String::from_utf8(lines).unwrap();
    let samples: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(samples.len(), 5);
    assert_eq!(samples[0]["workload"], "w4");
    assert_eq!(samples[0]["bytes"], 5 * 10 * 1024);
    assert!(
        samples
            .iter()
            .all(|sample| sample["fetcher"]["anonymous"].as_u64() > Some(1 << 20)),
        "{lines}"
    );
    assert_eq!(tables.len(), 4);
    assert!(
        tables[0].contains("cardume") && tables[0].contains("MiB/s"),
        "{}",
        tables[0]
    );
}

#[test]
fn the_network_path_alone_brings_every_byte_each_way_it_is_measured() {
    let mut plan = plan(vec![Workload::Net, Workload::NetQuic], "/nowhere".into());
    plan.scale.size = Some((3 << 20) + 1);
    plan.only.clear();
    let mut lines = Vec::new();
    plan.run(&mut lines, &mut |_| {}).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    for name in ["cardume", "cardume-quic", "rustls", "quinn"] {
        assert!(lines.contains(&format!("\"contestant\":\"{name}\"")), "{lines}");
    }
}

#[test]
fn a_contestant_that_is_not_installed_is_left_out() {
    let plan = plan(vec![Workload::W1], "/nowhere/cardume".into());
    let mut lines = Vec::new();
    plan.run(&mut lines, &mut |_| {}).unwrap();
    assert!(lines.is_empty());
    assert!(figures::table(&[] as &[Sample], "curl").len() < 100);
}
