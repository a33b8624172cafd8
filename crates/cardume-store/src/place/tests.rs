use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use cardume_content::Hash;

use super::{Place, PlaceError, Shape};

fn hash() -> Hash {
    Hash::from_bytes([0xab; 32])
}

fn tree(path: &Path) -> Result<Place, PlaceError> {
    Place::begin(path, Shape::Directory, hash(), false, None)
}

fn file(path: &Path, force: bool) -> Result<Place, PlaceError> {
    Place::begin(path, Shape::File { executable: false }, hash(), force, None)
}

#[test]
fn a_tree_gets_its_name_in_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("photos");
    let mut place = tree(&path).unwrap();
    place.make_directory(&["a"]).unwrap();
    place.make_directory(&["a", "b"]).unwrap();
    let run = place.make_file(&["a", "b", "run"], true).unwrap();
    fs::write(&run, "x").unwrap();
    place.make_file(&["plain"], false).unwrap();
    place.make_symlink(&["a", "link"], "../plain").unwrap();
    assert!(!path.exists());
    assert!(
        place
            .temporary_path()
            .ends_with(".photos.abababababab.cardume-part")
    );
    assert_eq!(
        place.commit().unwrap(),
        dir.path().canonicalize().unwrap().join("photos")
    );
    assert_eq!(fs::read_to_string(path.join("a/b/run")).unwrap(), "x");
    assert_ne!(fs::metadata(path.join("a/b/run")).unwrap().mode() & 0o100, 0);
    assert_eq!(fs::metadata(path.join("plain")).unwrap().mode() & 0o111, 0);
    assert_eq!(fs::read_link(path.join("a/link")).unwrap(), Path::new("../plain"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_later_try_finds_what_an_earlier_one_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let first = file(&path, false).unwrap();
    assert!(!first.is_resumed());
    fs::write(first.temporary_path(), "half").unwrap();
    drop(first);
    let second = file(&path, false).unwrap();
    assert!(second.is_resumed());
    assert_eq!(fs::read_to_string(second.temporary_path()).unwrap(), "half");
    let mut first = tree(&dir.path().join("d")).unwrap();
    first.make_file(&["x"], false).unwrap();
    drop(first);
    assert!(tree(&dir.path().join("d")).unwrap().is_resumed());
}

#[test]
fn what_is_there_is_kept_without_force_and_replaced_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, "old").unwrap();
    assert!(matches!(file(&path, false), Err(PlaceError::Exists { .. })));
    let place = file(&path, true).unwrap();
    fs::write(place.temporary_path(), "new").unwrap();
    place.commit().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), "old").unwrap();
    let place = file(&path, true).unwrap();
    fs::write(place.temporary_path(), "new").unwrap();
    place.commit().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    let mut place = Place::begin(&path, Shape::Directory, hash(), true, None).unwrap();
    place.make_file(&["x"], false).unwrap();
    place.commit().unwrap();
    assert!(path.join("x").is_file());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_name_taken_meanwhile_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let place = file(&path, false).unwrap();
    fs::write(&path, "somebody else").unwrap();
    let temporary = place.temporary_path();
    assert!(matches!(place.commit(), Err(PlaceError::Exists { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else");
    assert!(temporary.exists());
}

#[test]
fn links_planted_in_the_way_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "safe").unwrap();

    // As the temporary file, as the temporary directory, within it, and as a parent within it.
    symlink(&victim, dir.path().join(".f.abababababab.cardume-part")).unwrap();
    assert!(matches!(
        file(&dir.path().join("f"), false),
        Err(PlaceError::Refused { .. })
    ));
    symlink(outside.path(), dir.path().join(".d.abababababab.cardume-part")).unwrap();
    assert!(matches!(
        tree(&dir.path().join("d")),
        Err(PlaceError::Refused { .. })
    ));
    let mut place = tree(&dir.path().join("e")).unwrap();
    symlink(&victim, place.below(&["x"])).unwrap();
    assert!(matches!(
        place.make_file(&["x"], false),
        Err(PlaceError::Refused { .. })
    ));
    symlink(outside.path(), place.below(&["sub"])).unwrap();
    assert!(matches!(
        place.make_directory(&["sub"]),
        Err(PlaceError::Refused { .. })
    ));
    assert!(matches!(
        place.make_file(&["sub", "new"], false),
        Err(PlaceError::Refused { .. })
    ));
    assert!(matches!(
        place.make_symlink(&["sub", "new"], "x"),
        Err(PlaceError::Refused { .. })
    ));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "safe");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_hard_link_planted_as_the_temporary_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, "safe").unwrap();
    fs::hard_link(&victim, dir.path().join(".f.abababababab.cardume-part")).unwrap();
    assert!(matches!(
        file(&dir.path().join("f"), false),
        Err(PlaceError::Refused { .. })
    ));
}

#[test]
fn names_and_targets_that_lead_out_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut place = tree(&dir.path().join("d")).unwrap();
    for names in [&[".."][..], &["..", "x"], &["a/b"], &[""], &["."], &["/etc"], &[]] {
        assert!(place.make_file(names, false).is_err(), "{names:?}");
        assert!(place.make_directory(names).is_err(), "{names:?}");
        assert!(place.make_symlink(names, "x").is_err(), "{names:?}");
    }
    for target in ["/etc/passwd", "..", "../x", "a/../../x"] {
        assert!(place.make_symlink(&["link"], target).is_err(), "{target:?}");
    }
    assert_eq!(fs::read_dir(place.temporary_path()).unwrap().count(), 0);
}

#[test]
fn the_nodes_own_data_and_missing_parents_are_no_destination() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir_all(data.join("store")).unwrap();
    let shape = Shape::File { executable: false };
    let inside = Place::begin(&data.join("store/f"), shape, hash(), true, Some(&data));
    assert!(matches!(inside, Err(PlaceError::Refused { .. })));
    let round = Place::begin(
        &dir.path().join("data/../data/f"),
        shape,
        hash(),
        true,
        Some(&data),
    );
    assert!(matches!(round, Err(PlaceError::Refused { .. })));
    assert!(matches!(
        file(&dir.path().join("no/such/f"), false),
        Err(PlaceError::Io { .. })
    ));
    assert!(matches!(
        file(Path::new("/"), false),
        Err(PlaceError::Refused { .. })
    ));
}

#[test]
fn a_copy_made_by_another_gets_the_bits_an_executable_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut place = tree(&dir.path().join("d")).unwrap();
    let copy = |path: &Path| -> Result<(), PlaceError> {
        fs::write(path, "x").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        Ok(())
    };
    place.make_file_with(&["run"], true, copy).unwrap();
    let made = place.make_file(&["other"], true).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode();
    assert_eq!(mode(&place.below(&["run"])), mode(&made));
}

#[test]
fn long_names_still_have_a_temporary_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("n".repeat(255));
    file(&path, false).unwrap().commit().unwrap();
    assert!(path.exists());
}
