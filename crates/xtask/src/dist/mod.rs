//! `cargo xtask dist`: the tarball and the packages, the same bytes from the same sources.

mod deb;
pub(crate) mod files;
mod notices;
mod rpm;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use cargo_metadata::{Metadata, MetadataCommand};

use self::files::{DIRECTORIES, Entry, FILES, From, MANUAL};
use crate::{run, say};

/// What to put together.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to put it
    #[arg(long, default_value = "target/dist")]
    pub(crate) output: PathBuf,
    /// The program, if it is built already
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
    /// What the packages call their version, instead of the program's own
    #[arg(long)]
    pub(crate) package_version: Option<String>,
    /// Make the Debian package alone
    #[arg(long)]
    pub(crate) deb_only: bool,
}

/// One distribution in the making.
struct Dist {
    root: PathBuf,
    output: PathBuf,
    /// What is installed, as it lies below `/`.
    tree: PathBuf,
    version: String,
    /// Seconds of the last commit: every time stamp in what is made.
    epoch: String,
}

/// Makes the tarball, the Debian package, and where `rpmbuild` is, the RPM.
pub(crate) fn run_with(options: &Options) -> anyhow::Result<()> {
    let metadata = MetadataCommand::new().exec().context("cargo metadata")?;
    let root = PathBuf::from(metadata.workspace_root.as_std_path());
    fs::create_dir_all(&options.output)?;
    let output = options.output.canonicalize()?;
    let epoch = output_of(
        Command::new("git")
            .args(["log", "-1", "--format=%ct"])
            .current_dir(&root),
    )?;
    let epoch = String::from_utf8(epoch)?.trim().to_owned();
    let binary = match &options.binary {
        Some(binary) => binary
            .canonicalize()
            .with_context(|| binary.display().to_string())?,
        None => build(&metadata, &epoch)?,
    };
    let program = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == "cardume");
    let version = program.context("the program's crate")?.version.to_string();
    let dist = Dist {
        tree: output.join("tree"),
        version: options.package_version.clone().unwrap_or(version),
        root,
        output,
        epoch,
    };
    dist.lay_out(&binary, &metadata)?;
    let glibc = deb::glibc(&binary)?;
    say(&format!("dist: {}", dist.deb(&glibc)?.display()));
    if options.deb_only {
        return Ok(());
    }
    say(&format!("dist: {}", dist.tarball()?.display()));
    match dist.rpm(&glibc)? {
        Some(path) => say(&format!("dist: {}", path.display())),
        None => say("dist: SKIPPED the RPM: there is no rpmbuild here"),
    }
    Ok(())
}

/// Builds the program so that nothing in it tells where, or when.
fn build(metadata: &Metadata, epoch: &str) -> anyhow::Result<PathBuf> {
    let home =
        std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    let flags = format!(
        "--remap-path-prefix={}=/cardume --remap-path-prefix={}=/cargo",
        metadata.workspace_root,
        home.context("neither CARGO_HOME nor HOME is set")?,
    );
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    run(Command::new(cargo)
        .args(["build", "--release", "--locked", "--package", "cardume"])
        .env("RUSTFLAGS", flags)
        .env("SOURCE_DATE_EPOCH", epoch)
        .current_dir(&metadata.workspace_root))?;
    Ok(metadata.target_directory.join("release/cardume").into())
}

impl Dist {
    /// Puts every file of the list where it will lie.
    fn lay_out(&self, binary: &Path, metadata: &Metadata) -> anyhow::Result<()> {
        if self.tree.exists() {
            fs::remove_dir_all(&self.tree)?;
        }
        for directory in DIRECTORIES {
            make_directories(&self.tree, &self.below(directory))?;
        }
        for entry in FILES {
            let bytes = self.bytes_of(entry, binary, metadata)?;
            self.put(entry.to, entry.mode, &bytes)?;
        }
        let pages = self.below(MANUAL);
        make_directories(&self.tree, &pages)?;
        run(program(binary)
            .arg("--quiet")
            .arg("man")
            .arg(&pages)
            .stdout(std::process::Stdio::null()))?;
        for page in sorted(&pages)? {
            run(Command::new("gzip").args(["-9", "--no-name"]).arg(&page))?;
        }
        Ok(())
    }

    fn bytes_of(&self, entry: &Entry, binary: &Path, metadata: &Metadata) -> anyhow::Result<Vec<u8>> {
        match entry.from {
            From::Repository(path) => fs::read(self.root.join(path)).with_context(|| path.to_owned()),
            From::Binary => fs::read(binary).with_context(|| binary.display().to_string()),
            From::Program(arguments) => output_of(program(binary).args(arguments)),
            From::Notices => notices::text(metadata, &self.root).map(String::into_bytes),
        }
    }

    fn below(&self, place: &str) -> PathBuf {
        self.tree.join(place.trim_start_matches('/'))
    }

    fn put(&self, place: &str, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.below(place);
        make_directories(&self.tree, path.parent().context("a file lies in a directory")?)?;
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    /// An archive of a directory whose bytes depend on its files alone: sorted, owned by root, of one time.
    fn archive(&self, directory: &Path, name: &str, prefix: &str) -> anyhow::Result<PathBuf> {
        let path = self.output.join(name);
        let tar = path.with_extension("");
        run(Command::new("tar")
            .args([
                "--create",
                "--sort=name",
                "--format=gnu",
                "--numeric-owner",
                "--owner=0",
                "--group=0",
            ])
            .arg(format!("--mtime=@{}", self.epoch))
            .arg(format!("--transform=s,^\\./,{prefix},"))
            .arg(format!("--transform=s,^\\.$,{prefix},"))
            .arg("--file")
            .arg(&tar)
            .arg("--directory")
            .arg(directory)
            .arg("."))?;
        run(Command::new("gzip").args(["--no-name", "--force"]).arg(&tar))?;
        Ok(path)
    }

    fn tarball(&self) -> anyhow::Result<PathBuf> {
        let name = format!("cardume-{}-{}-linux", self.version, std::env::consts::ARCH);
        self.archive(&self.tree, &format!("{name}.tar.gz"), &format!("{name}/"))
    }
}

/// The program, in an environment that tells it nothing.
fn program(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().env("HOME", "/nonexistent").env("LC_ALL", "C");
    command
}

/// Makes a directory and what is above it in `tree`, open to everybody to read, whatever the umask says.
fn make_directories(tree: &Path, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    for made in directory.ancestors().take_while(|above| above.starts_with(tree)) {
        fs::set_permissions(made, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn sorted(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

/// What a command prints.
pub(crate) fn output_of(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
