//! The chain as a whole: what counts, where it comes from, and what is said of mistakes.
mod mistakes;

use std::{collections::BTreeSet, fs, path::Path};

use cardume_node::Config;
use tempfile::TempDir;

use self::mistakes::BAD_FILES;
use super::*;

/// A place with files of its own, and nothing of the machine's.
struct Situation {
    directory: TempDir,
    given: Given,
    environment: Environment,
}

impl Situation {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut environment = Environment::default();
        let home = directory.path().to_str().unwrap().to_owned();
        environment.variables.insert("HOME".into(), home);
        Self {
            directory,
            given: Given::default(),
            environment,
        }
    }

    fn with(text: &str) -> Self {
        Self::new().file("cardume.toml", text)
    }

    /// A file, by its path below the configuration directory or, with `vendor/` before it, the vendor's.
    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = match name.strip_prefix("vendor/") {
            Some(name) => self.vendor().join(name),
            None => self.directory.path().join(".config/cardume").join(name),
        };
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.variables.insert(name.into(), value.into());
        self
    }

    fn set(mut self, option: &str) -> Self {
        self.given.set.push(option.into());
        self
    }

    fn vendor(&self) -> std::path::PathBuf {
        self.directory.path().join("vendor")
    }

    fn load(&self) -> Result<Chain, Mistakes> {
        load(&self.given, &self.environment, &self.vendor())
    }

    /// Each mistake as text, with the directory cut off.
    fn mistakes(&self) -> Vec<String> {
        let mistakes = self.load().expect_err("there are mistakes").0;
        let directory = format!("{}/.config/cardume/", self.directory.path().display());
        mistakes
            .iter()
            .map(|one| one.to_string().replace(&directory, ""))
            .collect()
    }

    /// The only mistake.
    fn mistake(&self) -> String {
        let mistakes = self.mistakes();
        assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
        mistakes.into_iter().next().unwrap()
    }
}

fn origin(chain: &Chain, path: &[&str]) -> String {
    let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
    let origin = chain.values[&path].1.to_string();
    origin.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn no_file_at_all_is_a_working_node() {
    let chain = Situation::new().load().unwrap();
    assert_eq!(chain.config, Config::default());
    assert!(chain.files.is_empty());
}

#[test]
fn later_sources_win_and_each_value_knows_its_origin() {
    let place = Situation::with("[kad]\nmode = \"client\"\nmax_records = 2\n[node]\nname = \"file\"\n")
        .file("vendor/10.toml", "[kad]\nmode = \"server\"\nmax_providers = 1\n")
        .file(
            "conf.d/20-b.toml",
            "[kad]\nmax_records = 4\nparallel_queries = 4\n",
        )
        .file(
            "conf.d/10-a.toml",
            "[kad]\nmax_records = 3\nparallel_queries = 3\n",
        )
        .file("conf.d/.hidden.toml", "[kad]\nmax_records = 99\n")
        .file("conf.d/readme.txt", "not toml")
        .variable("CARDUME_KAD__PARALLEL_QUERIES", "5")
        .variable("CARDUME_NODE__NAME", "variable")
        .set("node.name=option");
    let chain = place.load().unwrap();
    let kad = &chain.config.kad;
    assert_eq!(kad.mode, cardume_kad_mode("client"));
    assert_eq!(
        (kad.max_providers, kad.max_records, kad.parallel_queries),
        (1, 4, 5)
    );
    assert_eq!(chain.config.node.name.as_deref(), Some("option"));
    assert_eq!(origin(&chain, &["kad", "max_providers"]), "10.toml:3:1");
    assert_eq!(origin(&chain, &["kad", "mode"]), "cardume.toml:2:1");
    assert_eq!(origin(&chain, &["kad", "max_records"]), "20-b.toml:2:1");
    assert_eq!(
        origin(&chain, &["kad", "parallel_queries"]),
        "$CARDUME_KAD__PARALLEL_QUERIES"
    );
    assert_eq!(origin(&chain, &["node", "name"]), "--set node.name=option");
    assert_eq!(origin(&chain, &["mdns", "enabled"]), "default");
    assert_eq!(chain.files.len(), 4);
}

fn cardume_kad_mode<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_value(name.into()).unwrap()
}

#[test]
fn named_tables_merge_by_name_and_a_drop_in_may_say_only_what_differs() {
    let place = Situation::with("[share.films]\npath = \"/films\"\n[share.music]\npath = \"/music\"\n")
        .file("conf.d/a.toml", "[share.films]\nannounce = false\n");
    let shares = place.load().unwrap().config.share;
    assert_eq!(shares.keys().collect::<Vec<_>>(), ["films", "music"]);
    assert_eq!(
        (shares["films"].path.as_path(), shares["films"].announces()),
        (Path::new("/films"), false)
    );
    assert!(shares["music"].announces());
}

#[test]
fn what_no_file_says_is_missed_in_the_whole() {
    let mistakes =
        Situation::with("[share.films]\nannounce = false\n[share.music]\n[network]\nid = \"A\"\n").mistakes();
    assert_eq!(
        mistakes,
        [
            "cardume.toml:1:8: share.films: missing key `path`",
            "cardume.toml:3:8: share.music: missing key `path`",
            "cardume.toml:5:1: network.id: \"A\" is no network id; 1 to 32 of a-z, 0-9 and -",
        ]
    );
}

#[test]
fn values_without_quotes_are_read_as_the_key_wants_them() {
    let place = Situation::new()
        .variable(
            "CARDUME_LISTEN__ADDRESSES",
            "/ip4/127.0.0.1/tcp/0, /ip4/127.0.0.1/udp/0/quic-v1",
        )
        .variable("CARDUME_MDNS__ENABLED", "false")
        .variable("CARDUME_LOG", "warn")
        .set("node.name=007")
        .set("connect.idle_timeout=5s")
        .set("connect.max_per_peer=9")
        .set("peer.\"a.b\".id=12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp")
        .set("connect.bootstrap=[]");
    let config = place.load().unwrap().config;
    assert_eq!(config.listen.addresses.len(), 2);
    assert!(!config.mdns.enabled);
    assert_eq!(config.log.level, "warn");
    assert_eq!(config.node.name.as_deref(), Some("007"));
    assert_eq!(config.connect.idle_timeout, cardume_units::Duration::from_secs(5));
    assert_eq!(config.connect.max_per_peer, 9);
    assert!(config.peer.contains_key("a.b"));
}

#[test]
fn every_mistake_of_every_source_is_told_at_once() {
    let place = Situation::with("x = 1\n[listn]\n[kad]\nmode = \"srver\"\n")
        .file("conf.d/a.toml", "[log]\nlevel = \nformat = pretty\n")
        .variable("CARDUME_KAD__ENABLED", "no")
        .variable("CARDUME_NOSUCH", "1")
        .set("log.levl=3");
    let mistakes = place.mistakes();
    let starts = [
        "cardume.toml:1:1: unknown key \"x\" at the top level",
        "cardume.toml:2:2: unknown key \"listn\" at the top level; did you mean \"listen\"?",
        "cardume.toml:4:8: unknown value \"srver\"; did you mean \"server\"?",
        "conf.d/a.toml:2:",
        "conf.d/a.toml:3:10: a text must stand in quotes",
        "$CARDUME_KAD__ENABLED: wrong type",
        "$CARDUME_NOSUCH: unknown variable",
        "--set log.levl=3: unknown key \"levl\" in [log]; did you mean \"level\"?",
    ];
    assert_eq!(mistakes.len(), starts.len(), "{mistakes:#?}");
    for (mistake, start) in mistakes.iter().zip(starts) {
        assert!(
            mistake.starts_with(start),
            "{mistake}\ndoes not start with\n{start}"
        );
    }
}

#[test]
fn each_mistake_has_its_line_its_column_and_a_reason() {
    let mut wrong = Vec::new();
    for (text, told) in BAD_FILES {
        let mistakes = Situation::with(text).mistakes();
        if mistakes.len() != 1 || !mistakes[0].starts_with(&format!("cardume.toml:{told}")) {
            wrong.push(format!("{text}\nsaid {mistakes:#?}\nnot  {told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_wrong_entry_of_a_list_is_told() {
    let mistakes =
        Situation::with("[listen]\naddresses = [\"foo\", \"/ip4/1.2.3.4/tcp/1\", \"/tcp\", 3]\n").mistakes();
    let places: Vec<_> = mistakes.iter().filter_map(|one| one.split(": ").next()).collect();
    assert_eq!(
        places,
        ["cardume.toml:2:14", "cardume.toml:2:43", "cardume.toml:2:51"],
        "{mistakes:#?}"
    );
}

#[test]
fn a_variable_is_told_by_what_is_wrong_with_its_name() {
    let table = [
        (
            "CARDUME_LISTN__ADDRESSES",
            "unknown key \"listn\" at the top level; did you mean \"listen\"?",
        ),
        (
            "CARDUME_LISTEN__ADRESSES",
            "unknown key \"adresses\" in [listen]; did you mean \"addresses\"?",
        ),
        (
            "CARDUME_LISTEN",
            "names a section and no key; the keys of [listen] are set with CARDUME_LISTEN__<KEY>",
        ),
        (
            "CARDUME_KAD__",
            "names a section and no key; the keys of [kad] are set with CARDUME_KAD__<KEY>",
        ),
        (
            "CARDUME___",
            "unknown variable; keys are set with CARDUME_<SECTION>__<KEY>",
        ),
        (
            "CARDUME_CONFG",
            "unknown variable; did you mean \"CARDUME_CONFIG\"?",
        ),
    ];
    for (name, told) in table {
        assert_eq!(
            Situation::new().variable(name, "1").mistake(),
            format!("${name}: {told}")
        );
    }
    for option in ["kad", "kad=1", "=1", "kad..mode=x", "kad.mode"] {
        let mistake = Situation::new().set(option).mistake();
        assert!(mistake.contains("not of the form section.key=value"), "{mistake}");
    }
}

#[test]
fn a_drop_in_that_cannot_be_read_is_named() {
    let place = Situation::new().file("conf.d/a.toml/inner", "");
    assert!(
        place
            .mistake()
            .starts_with("conf.d/a.toml: cannot read: Is a directory")
    );
    let place = Situation::new().file("conf.d/b.toml", "");
    let directory = place.directory.path().join(".config/cardume/conf.d");
    std::os::unix::fs::symlink("/no/such/file", directory.join("c.toml")).unwrap();
    assert!(
        place
            .mistake()
            .starts_with("conf.d/c.toml: cannot read: No such file")
    );
}

#[test]
fn the_offending_line_is_shown_with_a_mark_below() {
    let mistake = Situation::with("[kad]\n\u{1b}[2J = 1\nmode = \"é\"\n")
        .mistakes()
        .join("\n");
    assert!(!mistake.contains('\u{1b}'), "{mistake:?}");
    let mistake = Situation::with("# é\n[kad]\nmode = \"é\" # why\n").mistake();
    assert!(
        mistake.ends_with("\n  3 | mode = \"é\" # why\n    |        ^^^"),
        "{mistake}"
    );
}

#[test]
fn the_same_peer_under_two_names_is_a_mistake() {
    let id = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let mistake = Situation::with(&format!("[peer.a]\nid = \"{id}\"\n[peer.b]\nid = \"{id}\"\n")).mistake();
    assert!(
        mistake.starts_with("cardume.toml:4:1: peer.b.id: is the same peer as [peer.a]"),
        "{mistake}"
    );
}

#[test]
fn names_of_peers_and_groups_that_could_mean_two_things_are_mistakes() {
    let id = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let text = format!("[peer.\"group:web\"]\nid = \"{id}\"\ngroups = [\"home\", \"two words\"]\n");
    let mistakes = Situation::with(&text).mistakes();
    let expected = [
        "cardume.toml:1:",
        "cardume.toml:3:1: peer.group:web.groups: \"two words\" cannot be a name",
    ];
    assert!(
        mistakes[0].contains(": peer.group:web: \"group:web\" cannot be a name"),
        "{mistakes:#?}"
    );
    for (mistake, start) in mistakes.iter().zip(expected) {
        assert!(mistake.starts_with(start), "{mistakes:#?}");
    }
}

#[test]
fn allow_lists_name_peers_and_groups_that_are_there_or_say_what_may_be_meant() {
    let id = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let peer = format!("[peer.nas]\nid = \"{id}\"\ngroups = [\"home\"]\n");
    let share =
        |allow: &str| Situation::with(&format!("{peer}[share.films]\npath = \"/f\"\nallow = {allow}\n"));
    let right = share(&format!("[\"nas\", \"group:home\", \"{id}\"]"))
        .load()
        .unwrap();
    assert!(
        !right.config.share["films"].announces(),
        "what has a list is silent"
    );
    assert!(share("[]").load().is_ok());
    let mistake = share("[\"nsa\", \"group:hme\"]").mistakes().join("\n");
    for part in [
        "cardume.toml:6:1: share.films.allow: \"nsa\" is neither a peer's name nor a peer id; did you mean \"nas\"?",
        "cardume.toml:6:1: share.films.allow: \"group:hme\" names a group that no peer is in; did you mean \"group:home\"?",
    ] {
        assert!(mistake.contains(part), "{mistake}");
    }
    for (table, key) in [
        ("kad", "kad.allow"),
        ("nat.relay_limits", "nat.relay_limits.allow"),
    ] {
        let mistake = Situation::with(&format!("{peer}[{table}]\nallow = [\"home\"]\n")).mistake();
        let start = format!("cardume.toml:5:1: {key}: \"home\" is neither a peer's name nor a peer id");
        assert!(mistake.starts_with(&start), "{mistake}");
    }
    let channel = "k51qzi5uqu5djmw2yvf8kk5cdjc1ddc00o4d5sjwi6f79xzcay9j3gkddw5uu4";
    for (table, key) in [("fetch", "from"), ("follow", "channel")] {
        let toml =
            format!("{peer}[{table}.app]\n{key} = \"{channel}\"\nto = \"/srv/app\"\nallow = [\"nsa\"]\n");
        let mistake = Situation::with(&toml).mistake();
        let start = format!("cardume.toml:7:1: {table}.app.allow: \"nsa\" is neither");
        assert!(mistake.starts_with(&start), "{mistake}");
    }
}

#[test]
fn files_that_are_no_text_or_too_large_or_not_there_are_refused() {
    let place = Situation::new().file(
        "cardume.toml",
        [b"[kad]\nmode = \"" as &[u8], &[0xff], b"\"\n"].concat(),
    );
    assert!(
        place.mistake().starts_with("cardume.toml:2:9: not UTF-8"),
        "{}",
        place.mistake()
    );
    let place = Situation::new().file("cardume.toml", vec![b'#'; (1 << 20) + 1]);
    assert!(place.mistake().contains("larger than 1 MiB"));
    let mut place = Situation::new();
    place.given.file = Some("/no/such/file".into());
    assert!(place.mistake().starts_with("/no/such/file: cannot read"));
    let place = Situation::new().variable("CARDUME_CONFIG", "/no/such/variable");
    assert!(place.mistake().starts_with("/no/such/variable: cannot read"));
}

#[test]
fn many_mistakes_end_somewhere() {
    let text: String = (0..500).map(|n| format!("key{n} = {n}\n")).collect();
    assert_eq!(Situation::with(&text).mistakes().len(), MAX_MISTAKES);
    let deep = "[".repeat(100_000);
    assert!(!Situation::with(&format!("a = {deep}")).mistakes().is_empty());
}

#[test]
fn nothing_is_ever_written() {
    let place = Situation::with("[kad]\nenabled = false\n");
    let file = place.directory.path().join(".config/cardume/cardume.toml");
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    place.load().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 1);
}

/// The example with the `#` taken from every key and table; prose begins with `# `.
fn example_without_comments() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_the_default_both_as_it_is_and_with_every_key_taken_in() {
    assert_eq!(Situation::with(EXAMPLE).load().unwrap().config, Config::default());
    let mut example = example_without_comments();
    if !cfg!(feature = "opentelemetry") {
        // The one key that not every build takes.
        example = example.replace("\nendpoint = ", "\n# endpoint = ");
    }
    let mut config = Situation::with(&example).load().unwrap().config;
    // Keys that are not set by default show an example instead.
    let default = Config::default();
    for named in [
        config.share.len(),
        config.fetch.len(),
        config.topic.len(),
        config.publish.len(),
        config.follow.len(),
        config.peer.len(),
        config.rates.schedule.len(),
    ] {
        assert_eq!(named, 1);
    }
    assert_eq!(config.tunnel.len(), 2, "one of each role");
    config.tunnel.clear();
    config.share.clear();
    config.fetch.clear();
    config.topic.clear();
    config.publish.clear();
    config.follow.clear();
    config.peer.clear();
    config.rates.schedule.clear();
    config.node = default.node.clone();
    config.identity = default.identity.clone();
    config.store = default.store.clone();
    config.control = default.control.clone();
    config.metrics = default.metrics.clone();
    config.trace = default.trace.clone();
    config.origin.ca_file = None;
    config.kad.allow = None;
    config.nat.relay_limits.allow = None;
    config.network.certificate_file = None;
    config.network.revocations_file = None;
    assert_eq!(config, default);
}

#[test]
fn every_key_of_the_schema_is_in_the_example() {
    let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
    let example: toml::Table = toml::from_str(&example_without_comments()).unwrap();
    let mut missing = BTreeSet::new();
    for (section, value) in schema["properties"].as_object().unwrap() {
        let text = value.to_string();
        let definition = text
            .split("#/$defs/")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let Some(keys) = definition.and_then(|name| schema["$defs"][name]["properties"].as_object()) else {
            missing.insert(section.clone());
            continue;
        };
        let table = example.get(section).and_then(toml::Value::as_table);
        let tables: Vec<_> = match value.get("additionalProperties") {
            Some(_) => table
                .into_iter()
                .flat_map(|named| named.values().filter_map(toml::Value::as_table))
                .collect(),
            None => table.into_iter().collect(),
        };
        for key in keys.keys() {
            if !tables.iter().any(|table| table.contains_key(key)) {
                missing.insert(format!("{section}.{key}"));
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
}
