//! What the sources may say, and how long they may be.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Lines at which a file wants a second room.
const MAX_LINES: usize = 600;

/// A pattern that must not stand in the sources of some crates.
struct Rule {
    /// Any of these texts.
    patterns: &'static [&'static str],
    /// Whether a crate is under this rule.
    applies: fn(&str) -> bool,
    reason: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        patterns: &[
            "std::fs",
            "std::net",
            "tokio",
            "Instant::now",
            "SystemTime::now",
            "std::thread",
        ],
        applies: |name| matches!(name, "cardume-content" | "cardume-access" | "cardume-units"),
        reason: "words are pure: no disk, network, clock or tasks",
    },
    Rule {
        patterns: &[
            "env::var",
            "env::args",
            "signal::",
            "set_global_default",
            "tracing_subscriber",
        ],
        applies: |name| !matches!(name, "cardume" | "xtask" | "cardume-testkit" | "cardume-bench"),
        reason: "environment, signals and loggers belong to the binary",
    },
    Rule {
        patterns: &["tokio::spawn(", "tokio::task::spawn(", "thread::spawn("],
        applies: |name| {
            !matches!(
                name,
                "cardume" | "cardume-node" | "xtask" | "cardume-testkit" | "cardume-bench"
            )
        },
        reason: "libraries return futures; only the node spawns",
    },
    Rule {
        patterns: &["todo!(", "unimplemented!(", "TODO", "FIXME", "#[ignore"],
        applies: |_| true,
        reason: "unfinished work is an issue, not a line",
    },
    Rule {
        patterns: &["unbounded_channel", "mpsc::unbounded"],
        applies: |_| true,
        reason: "an unbounded queue turns a slow reader into a lack of memory",
    },
];

/// Checks every source file of every crate.
pub(super) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let map = fs::read_to_string(root.join("docs/architecture.md")).context("docs/architecture.md")?;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let folder = entry?.path();
        let Some(name) = folder
            .file_name()
            .and_then(|name| name.to_str())
            .map(str::to_owned)
        else {
            continue;
        };
        if name == "fuzz" || name == "xtask" {
            continue;
        }
        if !map.contains(&format!("`{name}`")) {
            wrong.push(format!("docs/architecture.md does not know {name}"));
        }
        for file in rust_files(&folder)? {
            let text = fs::read_to_string(&file)?;
            let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            wrong.extend(judge(&name, &shown, &text));
        }
    }
    Ok(wrong)
}

fn judge(name: &str, file: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        wrong.push(format!(
            "{file} has {lines} lines; over {MAX_LINES} it wants a second room"
        ));
    }
    let tests_too = file.contains("/tests/");
    for (number, line) in code_before_tests(text).enumerate() {
        if tests_too || line.trim_start().starts_with("//") {
            continue;
        }
        for rule in RULES.iter().filter(|rule| (rule.applies)(name)) {
            if let Some(pattern) = rule.patterns.iter().find(|pattern| line.contains(**pattern)) {
                wrong.push(format!("{file}:{} has `{pattern}`: {}", number + 1, rule.reason));
            }
        }
    }
    wrong
}

/// The lines above the test module, which by custom stands last.
fn code_before_tests(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]") && !line.starts_with("#[cfg(all(test"))
}

/// Every source file below `folder`.
pub(super) fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_spawns_is_told_off_and_its_tests_are_not() {
        let text = "fn go() {\n    tokio::spawn(async {});\n}\n#[cfg(test)]\nmod tests { fn t() { tokio::spawn(async {}); } }\n";
        let wrong = judge("cardume-exchange", "a.rs", text);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with("a.rs:2"), "{wrong:?}");
        assert!(judge("cardume-node", "a.rs", text).is_empty());
    }

    #[test]
    fn a_crowded_file_is_told_to_split() {
        assert!(judge("cardume-exchange", "a.rs", &"\n".repeat(601))[0].contains("second room"));
    }
}
