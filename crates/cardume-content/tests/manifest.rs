//! Directories: one form only, and nothing unsafe in them.
use cardume_content::{
    Cid, Hash, Manifest,
    manifest::{Entry, Limits, ManifestError, Name, Node, symlink_stays_inside},
};
use proptest::prelude::*;

fn entry(name: &str, node: Node) -> Entry {
    Entry {
        name: Name::new(name).expect("a safe name"),
        node,
    }
}

fn file(name: &str, size: u64) -> Entry {
    entry(
        name,
        Node::File {
            cid: Cid::blob(Hash::of(name.as_bytes())),
            size,
            executable: false,
        },
    )
}

fn symlink(name: &str, target: &str) -> Entry {
    entry(
        name,
        Node::Symlink {
            target: target.to_owned(),
        },
    )
}

fn decode(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    Manifest::decode(bytes, &Limits::default())
}

/// A manifest's bytes from hex, spaces allowed.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pairs = digits.chunks_exact(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
        .collect()
}

#[test]
fn entries_are_sorted_by_name_bytes_and_found() {
    let manifest = Manifest::new(vec![file("b", 1), file("B", 2), file("a", 3), file("é", 4)]).unwrap();
    let names: Vec<_> = manifest
        .entries()
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(names, ["B", "a", "b", "é"]);
    assert_eq!(manifest.find("b"), Some(&file("b", 1)));
    assert_eq!(manifest.find("c"), None);
    assert_eq!(manifest.totals(), (10, 4));
}

#[test]
fn the_same_tree_is_the_same_directory() {
    let one = Manifest::new(vec![file("a", 1), file("b", 2)]).unwrap();
    let other = Manifest::new(vec![file("b", 2), file("a", 1)]).unwrap();
    assert_eq!(one.encode(), other.encode());
    assert_eq!(one.cid(), other.cid());
    assert!(one.cid().to_string().starts_with("bafyr4i"));
}

#[test]
fn an_empty_directory_is_three_bytes() {
    let bytes = Manifest::default().encode();
    assert_eq!(bytes, hex("82 01 80"));
    assert_eq!(decode(&bytes), Ok(Manifest::default()));
}

#[test]
fn unsafe_names_are_refused() {
    let long = "x".repeat(256);
    for name in [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "a\\b",
        "a\0",
        "a\n",
        "\x1b[2J",
        "\x7f",
        "\u{9b}2J",
        "a\u{202e}gpj.exe",
        "\u{2066}",
        "\u{2028}",
        &long,
        &"é".repeat(128),
    ] {
        assert!(
            matches!(Name::new(name), Err(ManifestError::Name { .. })),
            "{name:?}"
        );
    }
    for name in [
        "a",
        "...",
        ".hidden",
        "COM1",
        "a b",
        "é",
        "👩‍👩‍👧",
        "שלום",
        &"x".repeat(255),
        "-rf",
        "a:b",
        "~",
    ] {
        assert!(Name::new(name).is_ok(), "{name:?}");
    }
}

#[test]
fn an_unsafe_name_is_cut_in_the_error() {
    let error = Name::new("\n".repeat(100_000)).unwrap_err().to_string();
    assert!(error.len() < 500, "{}", error.len());
    assert!(!error.contains('\n'));
}

#[test]
fn duplicates_are_refused_and_twins_in_case_are_found() {
    assert_eq!(
        Manifest::new(vec![file("a", 1), file("b", 1), file("a", 1)]),
        Err(ManifestError::Duplicate("a".to_owned()))
    );
    for (one, other) in [
        ("Makefile", "makefile"),
        ("STRASSE", "straße"),
        ("ſ", "S"),
        ("ΟΔΟΣ", "οδος"),
        ("K", "\u{212a}"),
    ] {
        let manifest = Manifest::new(vec![file(one, 1), file(other, 1)]).unwrap();
        assert!(
            matches!(manifest.check_case_fold(), Err(ManifestError::Duplicate(_))),
            "{one} {other}"
        );
    }
    assert_eq!(
        Manifest::new(vec![file("a", 1), file("b", 1)])
            .unwrap()
            .check_case_fold(),
        Ok(())
    );
}

#[test]
fn symlinks_never_leave_the_root() {
    for (depth, target) in [
        (0, "a"),
        (0, "a/b"),
        (0, "./a"),
        (1, "../a"),
        (2, "../.."),
        (0, "."),
        (0, "a//b/"),
    ] {
        assert!(symlink_stays_inside(depth, target), "{depth} {target}");
        assert!(Manifest::new(vec![symlink("link", target)]).is_ok(), "{target}");
    }
    for (depth, target) in [
        (0, ".."),
        (1, "../.."),
        (1, "../../a"),
        (u32::MAX, "/etc/passwd"),
        (9, "a/.."),
        (9, "a/../b"),
        (9, ""),
    ] {
        assert!(!symlink_stays_inside(depth, target), "{depth} {target}");
    }
    for target in [
        "",
        "/",
        "/etc/passwd",
        "a/../b",
        "a\\b",
        "a\0",
        "a\nb",
        "C:\\x",
        &"a/".repeat(3_000),
    ] {
        let refused = Manifest::new(vec![symlink("link", target)]);
        assert!(
            matches!(refused, Err(ManifestError::Symlink { .. })),
            "{target:?}"
        );
        assert!(!symlink_stays_inside(u32::MAX, target), "{target:?}");
    }
}

#[test]
fn a_cid_of_the_wrong_kind_is_refused() {
    let blob = Cid::blob(Hash::of(b""));
    let directory = Cid::directory(Hash::of(b""));
    let wrong = [
        Node::File {
            cid: directory,
            size: 0,
            executable: false,
        },
        Node::Directory {
            cid: blob,
            size: 0,
            files: 0,
        },
    ];
    for node in wrong {
        assert!(matches!(
            Manifest::new(vec![entry("x", node)]),
            Err(ManifestError::Malformed(_))
        ));
    }
}

#[test]
fn a_million_claimed_entries_in_few_bytes_are_refused_at_once() {
    // A list of 2, version 1, a list of 1,000,000 entries; then one of 2⁶⁴ - 1.
    let error = decode(&hex("82 01 9a000f4240")).unwrap_err();
    assert_eq!(
        error,
        ManifestError::Limit {
            what: "the number of entries",
            value: 1_000_000,
            limit: 1 << 18
        }
    );
    assert!(matches!(
        decode(&hex("82 01 9bffffffffffffffff")),
        Err(ManifestError::Limit { .. })
    ));
    // As many as allowed, none of which is there.
    assert!(matches!(
        decode(&hex("82 01 9a00040000")),
        Err(ManifestError::Malformed(_))
    ));
}

#[test]
fn sizes_that_add_up_to_too_much_are_refused() {
    let huge = Manifest::new((0..4).map(|n| file(&n.to_string(), 1 << 63)).collect()).unwrap();
    assert_eq!(huge.totals(), (u64::MAX, 4));
    assert!(matches!(
        decode(&huge.encode()),
        Err(ManifestError::Limit {
            what: "the size of all files",
            ..
        })
    ));
    let many = Node::Directory {
        cid: Cid::directory(Hash::of(b"")),
        size: 1,
        files: u64::MAX,
    };
    let many = Manifest::new(vec![entry("a", many), file("b", 1)]).unwrap();
    assert_eq!(many.totals(), (2, u64::MAX));
    assert!(matches!(
        decode(&many.encode()),
        Err(ManifestError::Limit {
            what: "the number of files",
            ..
        })
    ));
    let limits = Limits {
        manifest_bytes: 10,
        ..Limits::default()
    };
    let error = Manifest::decode(&[0; 11], &limits).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the manifest's length is 11, more than the limit of 10"
    );
}

#[test]
fn another_form_of_the_same_manifest_is_refused() {
    // One symlink `a` to `b`, in its only form and in others.
    let good = hex("82 01 81 a2 616c 6162 616e 6161");
    assert_eq!(
        decode(&good).unwrap(),
        Manifest::new(vec![symlink("a", "b")]).unwrap()
    );
    for (what, bytes) in [
        ("keys in another order", "82 01 81 a2 616e 6161 616c 6162"),
        ("a long number", "82 1801 81 a2 616c 6162 616e 6161"),
        ("a long length", "82 01 9801 a2 616c 6162 616e 6161"),
        ("a list without end", "82 01 9f a2 616c 6162 616e 6161 ff"),
        ("a byte after it", "82 01 81 a2 616c 6162 616e 6161 00"),
        ("a third element", "83 01 81 a2 616c 6162 616e 6161 00"),
        ("an unknown key", "82 01 81 a3 616c 6162 616e 6161 617a 00"),
        ("a key twice", "82 01 81 a3 616c 6162 616c 6162 616e 6161"),
        ("an explicit default", "82 01 81 a3 616c 6162 616e 6161 6178 f4"),
        ("a null", "82 01 81 a3 6163 f6 616c 6162 616e 6161"),
        ("no name", "82 01 81 a1 616c 6162"),
        ("no kind", "82 01 81 a1 616e 6161"),
        ("another version", "82 02 81 a2 616c 6162 616e 6161"),
        (
            "entries not sorted",
            "82 01 82 a2 616c 6162 616e 6162 a2 616c 6162 616e 6161",
        ),
        ("nothing", ""),
    ] {
        assert!(
            matches!(decode(&hex(bytes)), Err(ManifestError::Malformed(_))),
            "{what}: {:?}",
            decode(&hex(bytes))
        );
    }
    let newer = decode(&hex("82 02 80")).unwrap_err().to_string();
    assert!(newer.contains("version 2 is not supported"), "{newer}");
}

fn any_name() -> impl Strategy<Value = Name> {
    "[a-zA-Z0-9 é._-]{1,20}|\\PC{1,10}".prop_filter_map("safe names", |name| Name::new(name).ok())
}

fn any_node() -> impl Strategy<Value = Node> {
    let hash = any::<[u8; 32]>().prop_map(Hash::from_bytes);
    prop_oneof![
        (hash.clone(), 0..1_u64 << 40, any::<bool>()).prop_map(|(hash, size, executable)| Node::File {
            cid: Cid::blob(hash),
            size,
            executable
        }),
        (hash, 0..1_u64 << 40, 0..1_000_u64).prop_map(|(hash, size, files)| Node::Directory {
            cid: Cid::directory(hash),
            size,
            files
        }),
        "(\\.\\./){0,3}[a-z]{1,5}(/[a-z]{1,5}){0,3}".prop_map(|target| Node::Symlink { target }),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(entries in prop::collection::btree_map(any_name(), any_node(), 0..30)) {
        let entries: Vec<Entry> = entries.into_iter().map(|(name, node)| Entry { name, node }).collect();
        let manifest = Manifest::new(entries).unwrap();
        let bytes = manifest.encode();
        prop_assert_eq!(manifest.cid().hash(), Hash::of(&bytes));
        prop_assert_eq!(decode(&bytes), Ok(manifest));
    }

    #[test]
    fn changed_bytes_are_another_manifest_or_none(
        entries in prop::collection::btree_map(any_name(), any_node(), 1..5),
        at in any::<prop::sample::Index>(), to in any::<u8>(),
    ) {
        let entries: Vec<Entry> = entries.into_iter().map(|(name, node)| Entry { name, node }).collect();
        let mut bytes = Manifest::new(entries).unwrap().encode();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(manifest) = decode(&bytes) {
            prop_assert_eq!(manifest.encode(), bytes);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), depth in any::<u32>(), target in "[./a\\\\]{0,20}|\\PC*") {
        let _ = decode(&bytes);
        let _ = symlink_stays_inside(depth, &target);
        let _ = Name::new(target);
    }
}
