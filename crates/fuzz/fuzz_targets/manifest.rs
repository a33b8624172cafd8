//! Manifests: what decodes has one form only, and is within its limits.
#![no_main]

use cardume_content::{
    Manifest,
    manifest::{Limits, Node, symlink_stays_inside},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits {
        entries: 1_000,
        ..Limits::default()
    };
    let Ok(manifest) = Manifest::decode(data, &limits) else {
        return;
    };
    assert_eq!(manifest.encode(), data);
    assert!(manifest.entries().len() <= 1_000);
    assert!(manifest.totals().0 <= limits.total);
    assert!(manifest.entries().is_sorted_by(|a, b| a.name < b.name));
    let _ = manifest.check_case_fold();
    for entry in manifest.entries() {
        assert_eq!(manifest.find(entry.name.as_str()), Some(entry));
        if let Node::Symlink { target } = &entry.node {
            assert!(!target.starts_with('/') && symlink_stays_inside(u32::MAX, target));
        }
    }
});
