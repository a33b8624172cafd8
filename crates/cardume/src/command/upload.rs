//! Sends a tree's bytes to a daemon that may not read the files itself.
use std::{fs::Metadata, os::unix::fs::PermissionsExt, path::Path};

use anyhow::Context;
use cardume_api::{Client, Entry, EntryKind, NewManifest, NewRoot, Shared, Skipped, Uploaded};
use futures::StreamExt;
use tokio_util::io::ReaderStream;

use super::wait;
use crate::{failure::Ended, out::Out, progress::Display};

/// Bytes read from a file at once.
const CHUNK: usize = 256 * 1024;
/// Nested directories; a deeper tree is most likely a mistake, and peers would refuse it.
const MAX_DEPTH: usize = 64;

/// Uploads what is at `path` and makes it a root.
pub(super) async fn tree(
    client: &Client,
    path: &Path,
    name: Option<String>,
    allow: Option<Vec<String>>,
    out: &Out,
) -> anyhow::Result<Shared> {
    let name = match name {
        Some(name) => name,
        None => file_name(path)?,
    };
    let mut walk = Walk {
        client,
        display: Display::new(out),
        sent: 0,
        skipped: Vec::new(),
    };
    let uploaded = wait::unless_interrupted(walk.root(path)).await??;
    let Walk { skipped, .. } = walk;
    let root = NewRoot {
        cid: uploaded.cid,
        name,
        allow,
    };
    let file = client.add_root(&root).await?;
    Ok(Shared {
        cid: file.cid,
        link: file.link,
        name: file.name,
        size: file.size,
        files: file.files,
        allow: file.allow,
        skipped,
    })
}

fn file_name(path: &Path) -> anyhow::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    let message = || {
        format!(
            "{} has no name that can be shared; give one with --name",
            path.display()
        )
    };
    Ok(name.map(str::to_owned).ok_or_else(|| Ended::usage(message()))?)
}

struct Walk<'a> {
    client: &'a Client,
    display: Display,
    sent: u64,
    skipped: Vec<Skipped>,
}

impl Walk<'_> {
    async fn root(&mut self, path: &Path) -> anyhow::Result<Uploaded> {
        // Whoever names a link means what it points at.
        let metadata = tokio::fs::metadata(path).await?;
        if metadata.is_dir() {
            self.directory(path, 0).await
        } else {
            self.file(path).await
        }
    }

    async fn file(&mut self, path: &Path) -> anyhow::Result<Uploaded> {
        let failed = || format!("cannot read {}", path.display());
        let file = tokio::fs::File::open(path).await.with_context(failed)?;
        let size = file.metadata().await.with_context(failed)?.len();
        let uploaded = self
            .client
            .upload(ReaderStream::with_capacity(file, CHUNK).boxed())
            .await?;
        self.sent = self.sent.saturating_add(size);
        self.display.show_bytes(self.sent, None);
        Ok(uploaded)
    }

    async fn directory(&mut self, path: &Path, depth: usize) -> anyhow::Result<Uploaded> {
        if depth > MAX_DEPTH {
            anyhow::bail!("{} is more than {MAX_DEPTH} directories deep", path.display());
        }
        let mut entries = Vec::new();
        let failed = || format!("cannot read {}", path.display());
        let mut children = tokio::fs::read_dir(path).await.with_context(failed)?;
        while let Some(child) = children.next_entry().await.with_context(failed)? {
            let path = child.path();
            match (child.file_name().into_string(), child.metadata().await) {
                (Ok(name), Ok(metadata)) => {
                    if let Some(entry) = Box::pin(self.entry(name, &path, &metadata, depth)).await? {
                        entries.push(entry);
                    }
                }
                (Err(_), _) => self.skip(&path, "its name is not UTF-8"),
                (_, Err(error)) => self.skip(&path, error),
            }
        }
        Ok(self.client.upload_manifest(&NewManifest { entries }).await?)
    }

    /// One entry of a directory; `None` for what is neither file, directory nor link.
    async fn entry(
        &mut self,
        name: String,
        path: &Path,
        metadata: &Metadata,
        depth: usize,
    ) -> anyhow::Result<Option<Entry>> {
        let mut entry = Entry {
            name,
            kind: EntryKind::File,
            cid: None,
            size: 0,
            files: None,
            executable: false,
            target: None,
        };
        if metadata.is_symlink() {
            let target = tokio::fs::read_link(path).await?;
            let inside = target
                .to_str()
                .filter(|target| cardume_content::manifest::symlink_stays_inside(depth as u32, target));
            let Some(target) = inside else {
                self.skip(path, "the link leads out of the directory");
                return Ok(None);
            };
            entry.kind = EntryKind::Symlink;
            entry.target = Some(target.to_owned());
            return Ok(Some(entry));
        }
        let uploaded = if metadata.is_dir() {
            entry.kind = EntryKind::Dir;
            let uploaded = self.directory(path, depth + 1).await?;
            entry.files = Some(uploaded.files);
            uploaded
        } else if metadata.is_file() {
            entry.executable = metadata.permissions().mode() & 0o111 != 0;
            self.file(path).await?
        } else {
            self.skip(path, "neither a file nor a directory");
            return Ok(None);
        };
        entry.cid = Some(uploaded.cid);
        entry.size = uploaded.size;
        Ok(Some(entry))
    }

    fn skip(&mut self, path: &Path, reason: impl ToString) {
        self.skipped.push(Skipped {
            path: path.display().to_string(),
            reason: reason.to_string(),
        });
    }
}
