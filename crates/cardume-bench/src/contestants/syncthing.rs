//! syncthing: a daemon on each side that keeps a folder the same.

use std::{
    fmt::Write,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Contestant, Fetcher, Killed, Offer, Source, Wanted};
use crate::{
    ask::Question,
    content::{Content, Shape},
    place::{Place, wait_for, wait_for_long},
    watch::Watch,
    workload::Workload,
};

/// Sources, and fetchers, that there may be at once.
const EACH: usize = 4;
const KEY: &str = "X-API-Key: bench";
/// What the shared folder is called.
const FOLDER: &str = "content";

/// Both sides name each other in their configurations, so who they are is made beforehand.
#[derive(Default)]
pub(super) struct Syncthing {
    known: OnceLock<Known>,
}

struct Known {
    givers: Vec<Arc<Identity>>,
    takers: Vec<Arc<Identity>>,
}

/// A key, the device id that follows from it, and where its owner listens; in use while somebody else holds it.
struct Identity {
    id: String,
    port: u16,
    key: TempDir,
}

impl Contestant for Syncthing {
    fn name(&self) -> &'static str {
        "syncthing"
    }

    fn needs(&self) -> Vec<PathBuf> {
        vec!["syncthing".into()]
    }

    fn can(&self, workload: Workload) -> bool {
        // It sends no ranges, and who takes part stands in the configurations of all.
        matches!(
            workload,
            Workload::W1 | Workload::W2 | Workload::W3 | Workload::W4 | Workload::W6
        )
    }

    fn source(&self, place: &Place, content: &Content) -> anyhow::Result<Box<dyn Source>> {
        let known = self.known()?;
        let own = free(&known.givers)?;
        let (folder, marker, directory) = folder_of(content)?;
        let devices = devices(&known.takers, None);
        let shared = format!(
            r#"<folder id="{FOLDER}" path="{}" type="sendonly">{}<markerName>{marker}</markerName></folder>"#,
            folder.display(),
            members(&known.takers),
        );
        let daemon = Syncing::start(place, own, &(shared + &devices))?;
        let files = content.shape().files();
        wait_for_long("syncthing to hash its folder", || daemon.is_done(files))?;
        Ok(Box::new(Giver {
            daemon,
            _linked: directory,
        }))
    }

    fn fetcher(&self, place: &Place, content: &Content) -> anyhow::Result<Box<dyn Fetcher>> {
        let known = self.known()?;
        let own = free(&known.takers)?;
        let others: Vec<_> = known
            .takers
            .iter()
            .filter(|other| other.id != own.id)
            .cloned()
            .collect();
        let daemon = Syncing::start(place, own, &devices(&others, Some(place)))?;
        Ok(Box::new(Taker {
            daemon,
            others: others.iter().map(|other| other.id.clone()).collect(),
            shape: content.shape(),
        }))
    }
}

impl Syncthing {
    fn known(&self) -> anyhow::Result<&Known> {
        if self.known.get().is_none() {
            let make = || {
                (0..EACH)
                    .map(|_| Identity::make().map(Arc::new))
                    .collect::<anyhow::Result<Vec<_>>>()
            };
            let known = Known {
                givers: make().context("keys of sources")?,
                takers: make().context("keys of fetchers")?,
            };
            return Ok(self.known.get_or_init(|| known));
        }
        self.known.get().context("made before")
    }
}

impl Identity {
    fn make() -> anyhow::Result<Self> {
        let key = tempfile::tempdir()?;
        let run = |arguments: &[&str]| -> anyhow::Result<String> {
            let output = Command::new("syncthing")
                .args(arguments)
                .arg("--home")
                .arg(key.path())
                .output()?;
            ensure!(
                output.status.success(),
                "syncthing: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            Ok(String::from_utf8(output.stdout)?)
        };
        run(&["generate", "--no-default-folder", "--skip-port-probing"])?;
        let id = run(&["serve", "--device-id"])?.trim().to_owned();
        let port = Place::default().free()?.port();
        Ok(Self { id, port, key })
    }
}

/// One that nobody uses now.
fn free(identities: &[Arc<Identity>]) -> anyhow::Result<Arc<Identity>> {
    let unused = identities.iter().find(|one| Arc::strong_count(one) == 1);
    unused.cloned().context("more at once than have keys")
}

/// The folder to share, what marks it as one, and what has to stay for that.
///
/// It shares directories only, and marks each with a directory of its own, which others would then share too.
fn folder_of(content: &Content) -> anyhow::Result<(PathBuf, &'static str, Option<TempDir>)> {
    if let Shape::Tree(..) = content.shape() {
        return Ok((content.path.clone(), "d0000", None));
    }
    let parent = content.path.parent().context("content lies in a directory")?;
    let directory = tempfile::tempdir_in(parent)?;
    fs::hard_link(&content.path, directory.path().join("content"))?;
    Ok((directory.path().to_owned(), "content", Some(directory)))
}

fn members(devices: &[Arc<Identity>]) -> String {
    devices
        .iter()
        .map(|one| format!(r#"<device id="{}"/>"#, one.id))
        .collect()
}

/// Peers by name, and where they are if that is known.
fn devices(devices: &[Arc<Identity>], place: Option<&Place>) -> String {
    let mut text = String::new();
    for one in devices {
        let address = place.map_or_else(
            || "dynamic".to_owned(),
            |place| format!("tcp://{}", SocketAddr::new(place.ip(), one.port)),
        );
        let _ = write!(
            text,
            r#"<device id="{}"><address>{address}</address></device>"#,
            one.id
        );
    }
    text
}

/// A running daemon.
struct Syncing {
    process: Killed,
    home: TempDir,
    own: Arc<Identity>,
    at: SocketAddr,
}

impl Syncing {
    /// Its default settings, but for talking to nobody who was not named.
    fn start(place: &Place, own: Arc<Identity>, known: &str) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        for file in ["cert.pem", "key.pem"] {
            fs::copy(own.key.path().join(file), home.path().join(file))?;
        }
        let at = SocketAddr::new(place.ip(), own.port);
        let socket = home.path().join("s");
        let configuration = format!(
            r#"<configuration version="36">{known}
                <gui enabled="true" tls="false"><address>{}</address><apikey>bench</apikey></gui>
                <options>
                    <listenAddress>tcp://{at}</listenAddress>
                    <globalAnnounceEnabled>false</globalAnnounceEnabled>
                    <localAnnounceEnabled>false</localAnnounceEnabled>
                    <relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled>
                    <urAccepted>-1</urAccepted><autoUpgradeIntervalH>0</autoUpgradeIntervalH>
                    <crashReportingEnabled>false</crashReportingEnabled>
                    <startBrowser>false</startBrowser>
                </options></configuration>"#,
            socket.display()
        );
        fs::write(home.path().join("config.xml"), configuration)?;
        let mut command = place.command("syncthing");
        // As the process that does the work, not as the one that starts that anew when it fails.
        command.env("STMONITORED", "yes");
        command.args(["serve", "--no-browser", "--home"]);
        let process = Killed::start(command.arg(home.path()))?;
        let daemon = Self {
            process,
            home,
            own,
            at,
        };
        wait_for("syncthing", || {
            Ok(daemon.ask(Question::get("/rest/system/ping")).is_ok())
        })?;
        Ok(daemon)
    }

    fn ask(&self, question: Question<'_>) -> anyhow::Result<Value> {
        let question = Question {
            fields: &[KEY],
            ..question
        };
        question.ask(&self.home.path().join("s"))
    }

    fn put(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let question = Question {
            what: ("PUT", path),
            body: Some(body),
            ..Question::get(path)
        };
        self.ask(question).map(drop)
    }

    /// Whether all is there, and nothing left to do.
    fn is_done(&self, files: u64) -> anyhow::Result<bool> {
        let status = self.ask(Question::get(&format!("/rest/db/status?folder={FOLDER}")))?;
        let error = status["error"].as_str().unwrap_or_default();
        ensure!(error.is_empty(), "syncthing: {error}");
        Ok(status["state"] == "idle" && status["needTotalItems"] == 0 && status["inSyncFiles"] == files)
    }
}

struct Giver {
    daemon: Syncing,
    _linked: Option<TempDir>,
}

impl Source for Giver {
    fn processes(&self) -> Vec<u32> {
        vec![self.daemon.process.0.id()]
    }

    fn offer(&self) -> Offer {
        Offer {
            what: self.daemon.own.id.clone(),
            at: self.daemon.at,
            is_udp: false,
        }
    }
}

struct Taker {
    daemon: Syncing,
    others: Vec<String>,
    shape: Shape,
}

impl Taker {
    /// Waits until it says that nothing is missing any more.
    fn wait(&self) -> anyhow::Result<()> {
        wait_for_long("syncthing to have it all", || {
            self.daemon.is_done(self.shape.files())
        })
    }
}

impl Fetcher for Taker {
    fn processes(&self) -> Vec<u32> {
        vec![self.daemon.process.0.id()]
    }

    fn fetch(&mut self, _: &Watch, wanted: &Wanted<'_>) -> anyhow::Result<()> {
        let is_tree = matches!(self.shape, Shape::Tree(..));
        let into = match is_tree {
            true => wanted.to.to_path_buf(),
            false => wanted.to.with_extension("syncthing"),
        };
        for offer in wanted.offers {
            let device = json!({"deviceID": offer.what, "addresses": [format!("tcp://{}", offer.at)]});
            self.daemon
                .put(&format!("/rest/config/devices/{}", offer.what), &device)?;
        }
        let givers = wanted.offers.iter().map(|offer| &offer.what);
        let devices: Vec<Value> = givers
            .chain(&self.others)
            .map(|id| json!({"deviceID": id}))
            .collect();
        let folder = json!({"id": FOLDER, "path": into, "devices": devices});
        self.daemon
            .put(&format!("/rest/config/folders/{FOLDER}"), &folder)?;
        self.wait()?;
        match is_tree {
            true => Ok(()),
            false => Ok(fs::rename(Path::new(&into).join("content"), wanted.to)?),
        }
    }
}
