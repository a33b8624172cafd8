//! What most people use: a web server and `curl`, over TLS 1.3.

use std::{
    fmt::Write,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tempfile::TempDir;

use super::{Contestant, Fetcher, Killed, Offer, Source, Wanted, find};
use crate::{
    content::{Content, Shape},
    place::{Place, wait_for},
    watch::Watch,
    workload::Workload,
};

pub(super) struct Curl;

impl Contestant for Curl {
    fn name(&self) -> &'static str {
        "curl"
    }

    fn needs(&self) -> Vec<PathBuf> {
        vec!["curl".into(), "nginx".into()]
    }

    fn can(&self, workload: Workload) -> bool {
        // It knows no second source of the same file.
        workload != Workload::W2
    }

    fn source(&self, place: &Place, content: &Content) -> anyhow::Result<Box<dyn Source>> {
        Ok(Box::new(Nginx::start(place, content)?))
    }

    fn fetcher(&self, place: &Place, content: &Content) -> anyhow::Result<Box<dyn Fetcher>> {
        let files = match content.shape() {
            Shape::Tree(..) => content.files()?,
            Shape::File(_) | Shape::Memory(_) => Vec::new(),
        };
        Ok(Box::new(Getter {
            place: place.clone(),
            files,
            directory: tempfile::tempdir()?,
        }))
    }
}

struct Nginx {
    process: Killed,
    at: SocketAddr,
    directory: TempDir,
}

impl Nginx {
    fn start(place: &Place, content: &Content) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let at = place.free()?;
        let pair = rcgen::generate_simple_self_signed([at.ip().to_string()])?;
        fs::write(directory.path().join("certificate"), pair.cert.pem())?;
        fs::write(directory.path().join("key"), pair.key_pair.serialize_pem())?;
        let root = content.path.parent().context("content lies in a directory")?;
        fs::write(
            directory.path().join("conf"),
            configuration(directory.path(), root, at),
        )?;
        let nginx = find(Path::new("nginx")).context("nginx")?;
        let mut command = place.command(nginx.to_str().context("a path in UTF-8")?);
        let process = Killed::start(command.arg("-c").arg(directory.path().join("conf")))?;
        // It writes this file when it listens.
        wait_for("nginx", || Ok(directory.path().join("pid").exists()))?;
        Ok(Self {
            process,
            at,
            directory,
        })
    }
}

/// As a careful operator would: everything at its default, but for keeping connections open.
fn configuration(directory: &Path, root: &Path, at: SocketAddr) -> String {
    let user = match rustix::process::geteuid().is_root() {
        true => "user root;",
        false => "",
    };
    let (directory, root) = (directory.display(), root.display());
    format!(
        "{user} daemon off; worker_processes auto; pid {directory}/pid; error_log {directory}/log;
        events {{ }}
        http {{
            access_log off; sendfile on; keepalive_requests 1000000;
            client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
            fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
            scgi_temp_path {directory}/scgi;
            server {{
                listen {at} ssl; root {root};
                ssl_certificate {directory}/certificate; ssl_certificate_key {directory}/key;
                ssl_protocols TLSv1.3;
            }}
        }}"
    )
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Asked to end, it ends its workers; killed, it would leave them.
        if let Some(pid) = i32::try_from(self.process.0.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = self.process.0.wait();
        }
    }
}

impl Source for Nginx {
    fn processes(&self) -> Vec<u32> {
        vec![self.process.0.id()]
    }

    fn offer(&self) -> Offer {
        Offer {
            what: self.directory.path().join("certificate").display().to_string(),
            at: self.at,
            is_udp: false,
        }
    }
}

struct Getter {
    place: Place,
    /// Files of a tree.
    files: Vec<PathBuf>,
    directory: TempDir,
}

impl Fetcher for Getter {
    fn fetch(&mut self, watch: &Watch, wanted: &Wanted<'_>) -> anyhow::Result<()> {
        let offer = wanted.offers.first().context("an offer")?;
        let mut command = self.place.command("curl");
        command.args([
            "--silent",
            "--show-error",
            "--fail",
            "--tlsv1.3",
            "--cacert",
            &offer.what,
        ]);
        let url = format!("https://{}/content", offer.at);
        if let Some(range) = &wanted.range {
            command
                .arg("--range")
                .arg(format!("{}-{}", range.start, range.end - 1));
        }
        if self.files.is_empty() {
            command.arg("--output").arg(wanted.to).arg(url);
        } else {
            let list = self.directory.path().join("list");
            fs::write(&list, list_of(&self.files, &url, wanted.to))?;
            command.arg("--create-dirs").arg("--config").arg(list);
        }
        watch.run(&mut command)
    }
}

/// What to get and where to put it, as `curl --config` reads it; one connection carries all.
fn list_of(files: &[PathBuf], url: &str, to: &Path) -> String {
    let mut list = String::new();
    for file in files {
        let output = to.join(file);
        let _ = writeln!(
            list,
            "url = \"{url}/{}\"\noutput = \"{}\"",
            file.display(),
            output.display()
        );
    }
    list
}
