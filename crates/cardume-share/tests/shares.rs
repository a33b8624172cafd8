//! Shares of real directories that change under them.
#![expect(clippy::unwrap_used, reason = "a test says enough when it panics")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use cardume_content::{Cid, Hash, Kind, manifest::Node};
use cardume_share::{Config, Handle, Phase, Server, State};
use cardume_store::{Mode, Store};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longer than anything here takes on a slow machine.
const GUARD: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_millis(60);

type Told = Arc<Mutex<Vec<(Cid, bool)>>>;

struct Stand {
    dir: TempDir,
    store: Store,
    database: Arc<redb::Database>,
}

struct Running {
    handle: Handle,
    told: Told,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Stand {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Arc::new(redb::Database::create(dir.path().join("db")).unwrap());
        let config = cardume_store::Config::default();
        let store = Store::open(&dir.path().join("store"), database.clone(), &config).unwrap();
        fs::create_dir(dir.path().join("films")).unwrap();
        Self { dir, store, database }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("films").join(name)
    }

    /// A file old enough for its time stamp to be believed.
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        age(&path);
        path
    }

    fn config(&self) -> Config {
        Config {
            settle: cardume_units::Duration::from(SETTLE),
            ..Config::new(self.path(""))
        }
    }

    fn run(&self, config: Config) -> Running {
        self.run_all(BTreeMap::from([("films".to_owned(), config)]))
    }

    fn run_all(&self, wanted: BTreeMap<String, Config>) -> Running {
        let told = Told::default();
        let tell = {
            let told = told.clone();
            Box::new(move |cid, announced| told.lock().unwrap().push((cid, announced)))
        };
        let (store, database) = (self.store.clone(), self.database.clone());
        let (handle, server) = Server::new(wanted, store, Mode::InPlace, database, tell);
        let stop = CancellationToken::new();
        Running {
            handle,
            told,
            task: tokio::spawn(server.run(stop.clone())),
            stop: stop.drop_guard(),
        }
    }

    fn names(&self, cid: Cid) -> Vec<String> {
        let manifest = self.store.manifest(cid).unwrap();
        let entries = manifest.entries().iter();
        entries.map(|entry| entry.name.as_str().to_owned()).collect()
    }

    fn roots(&self) -> Vec<Cid> {
        self.store.roots().unwrap().iter().map(|root| root.cid).collect()
    }
}

impl Running {
    /// Waits until the share is as `wanted`.
    async fn until(&self, wanted: impl Fn(&State) -> bool) -> State {
        let mut states = self.handle.follow();
        let found = timeout(GUARD, states.wait_for(|states| wanted(&states["films"]))).await;
        found.expect("it comes to that").unwrap()["films"].clone()
    }

    async fn shared(&self, wanted: impl Fn(&State) -> bool) -> State {
        self.until(|state| state.phase == Phase::Shared && wanted(state))
            .await
    }

    /// Its id, as soon as it is another.
    async fn after(&self, cid: Option<Cid>) -> Cid {
        self.shared(|state| state.cid != cid).await.cid.unwrap()
    }

    async fn end(self) {
        drop(self.stop);
        timeout(GUARD, self.task).await.expect("it ends").unwrap();
    }
}

fn age(path: &Path) {
    let past = SystemTime::now() - Duration::from_secs(60);
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(past).unwrap();
}

#[tokio::test]
async fn what_is_new_changed_moved_and_deleted_is_shared_as_it_is() {
    let stand = Stand::new();
    stand.write("one", &[1; 300_000]);
    stand.write("below/two", &[2; 300_000]);
    let running = stand.run(stand.config());
    let first = running.after(None).await;
    assert_eq!(stand.names(first), ["below", "one"]);
    assert_eq!(stand.roots(), [first]);

    stand.write("below/new", b"new");
    let second = running.shared(|state| state.files == 3).await.cid.unwrap();
    fs::write(stand.path("one"), b"changed").unwrap();
    let third = running.shared(|state| state.size == 300_010).await.cid.unwrap();
    fs::rename(stand.path("below"), stand.path("beyond")).unwrap();
    let fourth = running.after(Some(third)).await;
    assert_eq!(stand.names(fourth), ["beyond", "one"]);
    fs::remove_dir_all(stand.path("beyond")).unwrap();
    let fifth = running.after(Some(fourth)).await;
    assert_eq!(stand.names(fifth), ["one"]);
    assert_eq!(stand.roots(), [fifth]);

    let told = running.told.lock().unwrap().clone();
    let announced: Vec<_> = told
        .iter()
        .filter(|(_, told)| *told)
        .map(|(cid, _)| *cid)
        .collect();
    for cid in [first, second, third, fourth] {
        assert!(announced.contains(&cid) && told.contains(&(cid, false)), "{cid}");
    }
    assert_eq!(announced.last(), Some(&fifth));
    running.end().await;
}

#[tokio::test]
async fn what_has_not_changed_keeps_its_id_and_is_still_served() {
    let stand = Stand::new();
    let large = vec![7; 500_000];
    stand.write("kept/large", &large);
    stand.write("other/small", b"small");
    let running = stand.run(stand.config());
    let first = running.after(None).await;
    stand.write("other/more", b"more");
    let second = running.after(Some(first)).await;
    let below = |cid: Cid, name: &str| match stand.store.manifest(cid).unwrap().find(name).unwrap().node {
        Node::Directory { cid, .. } => cid,
        _ => panic!("a directory"),
    };
    assert_eq!(below(first, "kept"), below(second, "kept"));
    assert_ne!(below(first, "other"), below(second, "other"));
    stand.store.collect(&()).unwrap();
    let read = stand.store.read(Hash::of(&large), 0..10).unwrap();
    assert_eq!(&read[..], &large[..10]);
    running.end().await;
}

#[tokio::test]
async fn a_burst_of_writes_makes_few_roots() {
    let stand = Stand::new();
    let running = stand.run(stand.config());
    let empty = running.after(None).await;
    let path = stand.path("");
    tokio::task::spawn_blocking(move || {
        for index in 0..1_000 {
            fs::write(path.join(format!("{index}")), index.to_string()).unwrap();
        }
    })
    .await
    .unwrap();
    let last = running.shared(|state| state.files == 1_000).await.cid.unwrap();
    let told = running.told.lock().unwrap().clone();
    let roots = told.iter().filter(|(_, announced)| *announced).count();
    assert!(roots <= 6, "{roots} roots");
    assert_eq!(stand.roots(), [last]);
    assert_ne!(last, empty);
    running.end().await;
}

#[tokio::test]
async fn a_file_that_somebody_is_writing_to_is_shared_when_it_is_closed() {
    let stand = Stand::new();
    stand.write("ready", b"ready");
    let mut config = stand.config();
    config.settle = cardume_units::Duration::from(Duration::from_millis(400));
    let running = stand.run(config);
    let first = running.after(None).await;
    let mut growing = File::create(stand.path("growing")).unwrap();
    growing.write_all(b"half ").unwrap();
    let state = running.shared(|state| state.problem.is_some()).await;
    assert_eq!(state.cid, Some(first), "half a file is not shared");
    let problem = state.problem.unwrap();
    assert!(problem.contains("growing: it is being written to"), "{problem}");
    growing.write_all(b"whole").unwrap();
    drop(growing);
    let state = running.shared(|state| state.files == 2).await;
    assert_eq!((state.size, state.problem), (15, None));
    running.end().await;
}

#[tokio::test]
async fn a_share_whose_path_comes_and_goes_says_so_and_is_shared_again() {
    let stand = Stand::new();
    stand.write("film", b"film");
    let mut config = stand.config();
    config.rescan = cardume_units::Duration::from(Duration::from_millis(50));
    let running = stand.run(config);
    let first = running.after(None).await;
    let away = stand.dir.path().join("away");
    fs::rename(stand.path(""), &away).unwrap();
    let state = running.until(|state| state.phase == Phase::Failed).await;
    assert!(state.problem.unwrap().contains("No such file"));
    fs::rename(&away, stand.path("")).unwrap();
    let state = running.shared(|state| state.problem.is_none()).await;
    assert_eq!(state.cid, Some(first));
    running.end().await;
}

/// A file system of its own, while it lives.
struct Mounted(PathBuf);

impl Mounted {
    fn at(path: &Path) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        mount
            .is_ok_and(|status| status.success())
            .then(|| Self(path.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_disk_that_is_unmounted_is_not_taken_for_an_empty_directory() {
    let stand = Stand::new();
    let Some(disk) = Mounted::at(&stand.path("")) else {
        return println!("SKIPPED: mounting a file system takes root");
    };
    stand.write("film", b"film");
    let mut config = stand.config();
    config.rescan = cardume_units::Duration::from(Duration::from_millis(50));
    let running = stand.run(config.clone());
    let first = running.after(None).await;
    running.end().await;
    drop(disk);
    let running = stand.run(config);
    let state = running.until(|state| state.phase == Phase::Failed).await;
    assert!(state.problem.unwrap().contains("mount it"));
    assert_eq!(stand.roots(), [first]);
    stand.write("other", b"other");
    let other = running.after(None).await;
    assert_eq!(stand.names(other), ["other"]);
    running.end().await;
}

#[tokio::test]
async fn one_file_is_shared_and_followed_too() {
    let stand = Stand::new();
    let path = stand.write("film", b"one");
    let mut config = stand.config();
    config.path = path.clone();
    config.announce = Some(false);
    let running = stand.run(config);
    let first = running.after(None).await;
    assert_eq!(first, Cid::blob(Hash::of(b"one")));
    fs::write(stand.path("beside"), b"of no interest").unwrap();
    let new = stand.write("new", b"another");
    fs::rename(new, path).unwrap();
    let second = running.after(Some(first)).await;
    assert_eq!(
        (second, second.kind()),
        (Cid::blob(Hash::of(b"another")), Kind::Blob)
    );
    let announced = running
        .told
        .lock()
        .unwrap()
        .iter()
        .any(|(_, announced)| *announced);
    assert!(!announced, "it is not to be announced");
    running.end().await;
}

fn allowed(stand: &Stand, bytes: &[u8]) -> Option<Vec<String>> {
    stand.store.allow(Hash::of(bytes)).map(|words| words.to_vec())
}

fn words(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

#[tokio::test]
async fn a_list_that_comes_while_nobody_looked_holds_before_anything_is_looked_at() {
    let stand = Stand::new();
    stand.write("film", b"film");
    let running = stand.run(stand.config());
    let open = running.after(None).await;
    running.end().await;
    assert_eq!(allowed(&stand, b"film"), None);
    let config = Config {
        allow: words(&["nas"]),
        ..stand.config()
    };
    let wanted = BTreeMap::from([("films".to_owned(), config.clone())]);
    cardume_share::renew(&wanted, &stand.store, &stand.database).unwrap();
    assert_eq!(allowed(&stand, b"film"), words(&["nas"]));
    assert!(!stand.store.root(open).unwrap().unwrap().announce);

    // What is added is for nobody else, and what goes for nobody.
    let running = stand.run(config);
    running.after(None).await;
    let more = stand.write("more", b"more");
    let both = running.after(Some(open)).await;
    assert_eq!(allowed(&stand, b"more"), words(&["nas"]));
    fs::remove_file(more).unwrap();
    running.after(Some(both)).await;
    assert_eq!(allowed(&stand, b"more"), words(&[]));
    assert_eq!(allowed(&stand, b"film"), words(&["nas"]));
    let told = running.told.lock().unwrap().clone();
    assert!(told.iter().all(|(_, announced)| !announced), "{told:?}");
    running.end().await;
}

#[tokio::test]
async fn of_shares_with_the_same_content_each_lets_its_own_in_for_as_long_as_it_has_it() {
    let stand = Stand::new();
    stand.write("one/film", b"film");
    stand.write("two/film", b"film");
    let config = |name: &str, allow: &str| {
        let mut config = stand.config();
        config.path = stand.path(name);
        config.allow = words(&[allow]);
        (name.to_owned(), config)
    };
    let running = stand.run_all(BTreeMap::from([config("one", "nas"), config("two", "group:web")]));
    let mut states = running.handle.follow();
    let shared = states.wait_for(|states| states.values().all(|state| state.phase == Phase::Shared));
    drop(timeout(GUARD, shared).await.expect("both are shared").unwrap());
    let mut both = allowed(&stand, b"film").unwrap();
    both.sort();
    assert_eq!(both, ["group:web", "nas"]);
    stand.write("two/film", b"another film");
    let changed = states.wait_for(|states| {
        let [one, two] = ["one", "two"].map(|name| states[name].cid);
        one != two && states.values().all(|state| state.phase == Phase::Shared)
    });
    drop(timeout(GUARD, changed).await.expect("it is found").unwrap());
    assert_eq!(allowed(&stand, b"film"), words(&["nas"]));
    assert_eq!(allowed(&stand, b"another film"), words(&["group:web"]));
    running.end().await;
}

#[tokio::test]
async fn changes_while_nobody_looked_are_found_at_the_next_start_and_what_is_not_wanted_is_given_up() {
    let stand = Stand::new();
    stand.write("film", b"film");
    let running = stand.run(stand.config());
    let first = running.after(None).await;
    running.end().await;
    stand.write("more", b"more");
    let mut config = stand.config();
    config.watch = false;
    let twins = BTreeMap::from([
        ("films".to_owned(), config.clone()),
        ("twin".to_owned(), config.clone()),
    ]);
    let running = stand.run_all(twins);
    let second = running.shared(|_| true).await.cid.unwrap();
    assert_ne!(first, second);
    let mut states = running.handle.follow();
    let twin = states.wait_for(|states| states["twin"].cid == Some(second));
    timeout(GUARD, twin).await.unwrap().unwrap();
    running.end().await;

    // A root that two shares have stays when one of them goes.
    let running = stand.run(config);
    running.shared(|_| true).await;
    assert_eq!(stand.roots(), [second]);
    running.end().await;
    let running = stand.run_all(BTreeMap::new());
    running.end().await;
    assert_eq!(stand.roots(), []);
}

#[tokio::test]
async fn without_watching_changes_are_found_by_looking_for_them() {
    let stand = Stand::new();
    stand.write("film", b"film");
    let mut config = stand.config();
    config.watch = false;
    config.rescan = cardume_units::Duration::from(Duration::from_millis(50));
    let running = stand.run(config);
    let first = running.after(None).await;
    stand.write("more", b"more");
    running.after(Some(first)).await;
    running.end().await;
}

#[tokio::test]
async fn a_change_that_only_shows_when_it_is_read_is_shared_anew() {
    let stand = Stand::new();
    let path = stand.write("film", b"one");
    let mut config = stand.config();
    config.watch = false;
    let running = stand.run(config);
    let first = running.after(None).await;
    fs::write(&path, b"two").unwrap();
    assert!(stand.store.read(Hash::of(b"one"), 0..3).is_err());
    let second = running.after(Some(first)).await;
    assert_eq!(&stand.store.read(Hash::of(b"two"), 0..3).unwrap()[..], b"two");
    assert_eq!(stand.roots(), [second]);
    running.end().await;
}

#[tokio::test]
async fn what_is_wanted_can_change_while_the_rest_goes_on() {
    let stand = Stand::new();
    let (one, two) = (
        stand.write("a/one", &[1; 100_000]),
        stand.write("b/two", &[2; 100_000]),
    );
    let three = stand.write("c/three", &[3; 100_000]);
    let config = |path: &Path| Config {
        path: path.parent().unwrap().to_owned(),
        ..stand.config()
    };
    let named = |shares: &[(&str, Config)]| -> BTreeMap<String, Config> {
        let shares = shares.iter().cloned();
        shares.map(|(name, config)| (name.to_owned(), config)).collect()
    };
    let running = stand.run_all(named(&[("films", config(&one)), ("old", config(&two))]));
    let first = running.after(None).await;
    let mut states = running.handle.follow();
    let is_shared = |name: &'static str| {
        move |states: &BTreeMap<String, State>| {
            let state = states.get(name);
            state.is_some_and(|state| state.phase == Phase::Shared && state.cid.is_some())
        }
    };
    timeout(GUARD, states.wait_for(is_shared("old")))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stand.roots().len(), 2);

    let guarded = Config {
        allow: Some(vec!["nas".into()]),
        ..config(&one)
    };
    let wanted = named(&[("films", guarded), ("new", config(&three))]);
    running.handle.set(wanted.clone());
    cardume_share::renew(&wanted, &stand.store, &stand.database).unwrap();
    let root = stand.store.root(first).unwrap().unwrap();
    assert_eq!(root.allow, Some(vec!["nas".into()]), "at once");
    timeout(GUARD, states.wait_for(is_shared("new")))
        .await
        .unwrap()
        .unwrap();
    let again = running.shared(|state| state.allow.is_some()).await;
    assert_eq!(again.cid, Some(first));
    let gone = || stand.roots().len() == 2 && !running.handle.states().contains_key("old");
    let waiting = async {
        while !gone() {
            tokio::task::yield_now().await;
        }
    };
    timeout(GUARD, waiting).await.unwrap();
    let told = running.told.lock().unwrap().clone();
    assert_eq!(
        told.iter().filter(|(cid, on)| *cid == first && *on).count(),
        1,
        "{told:?}"
    );
    assert!(told.contains(&(first, false)), "a list is not told to everybody");

    // And it is still followed, with the list.
    stand.write("a/more", &[4; 100_000]);
    let more = running.after(Some(first)).await;
    let root = stand.store.root(more).unwrap().unwrap();
    assert_eq!(root.allow, Some(vec!["nas".into()]));
    running.end().await;
}

/// Changes one of two shares, and then the other; the id of the first when the second has been shared anew.
async fn changed_before(stand: &Stand, first: Config, second: Config) -> (Option<Cid>, Option<Cid>) {
    stand.write("one/film", b"one");
    stand.write("two/film", b"two");
    let running = stand.run_all(BTreeMap::from([
        ("one".to_owned(), first),
        ("two".to_owned(), second),
    ]));
    let mut states = running.handle.follow();
    let shared = states.wait_for(|states| states.values().all(|state| state.phase == Phase::Shared));
    let before = timeout(GUARD, shared)
        .await
        .expect("both are shared")
        .unwrap()
        .clone();
    stand.write("one/more", b"more of one");
    stand.write("two/more", b"more of two");
    let changed = states
        .wait_for(|states| states["two"].phase == Phase::Shared && states["two"].cid != before["two"].cid);
    let after = timeout(GUARD, changed).await.expect("it is found").unwrap()["one"].cid;
    running.end().await;
    (before["one"].cid, after)
}

#[tokio::test]
async fn a_change_is_shared_when_it_has_rested_for_as_long_as_is_configured() {
    let stand = Stand::new();
    let config = |name: &str, settle: Duration| Config {
        settle: settle.into(),
        ..Config::new(stand.path(name))
    };
    let (slow, fast) = (config("one", Duration::from_secs(3600)), config("two", SETTLE));
    let (before, after) = changed_before(&stand, slow, fast).await;
    assert_eq!(before, after, "it has not rested for so long");
}

#[tokio::test]
async fn a_share_that_is_not_watched_is_not_told_of_changes() {
    let stand = Stand::new();
    let config = |name: &str, watch: bool| Config {
        watch,
        settle: SETTLE.into(),
        ..Config::new(stand.path(name))
    };
    let (before, after) = changed_before(&stand, config("one", false), config("two", true)).await;
    assert_eq!(before, after, "nobody has looked");
}
