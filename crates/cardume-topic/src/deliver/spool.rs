//! A directory with a file for each message.
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::Tally;
use crate::{Item, Reader, Received, Spool};

/// What a file is called that is not whole yet.
const PARTIAL: &str = ".partial-";
/// Messages that become durable together: each costs a wait for the disk, and the directory one for all of them.
const BATCH: usize = 32;
/// Pause before a full or failing directory is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes each message into the directory; durable before it counts as delivered.
pub(super) async fn run(spool: &Spool, mut reader: Reader, tally: &Tally) {
    let directory = Arc::new(spool.directory.clone());
    let quota = spool.quota.get();
    let sweeping = directory.clone();
    blocking(move || sweep(&sweeping)).await;
    let mut used = None;
    loop {
        let Some(batch) = next_batch(&mut reader, tally).await else {
            return;
        };
        let batch: Arc<[Received]> = batch.into();
        let mut done = 0;
        while done < batch.len() {
            let (directory, batch) = (directory.clone(), batch.clone());
            let before = done;
            let written = blocking(move || write_all(&directory, &batch[before..], quota, used)).await;
            done += written.count;
            used = written.used;
            if written.count > 0 {
                tally.deliver(written.count as u64);
            }
            if let Some(problem) = written.problem {
                tally.fail_with(problem);
                // Others may take files away; meanwhile messages wait where they are kept, and are lost in the end.
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// What is there to be written; none when the node stops.
async fn next_batch(reader: &mut Reader, tally: &Tally) -> Option<Vec<Received>> {
    let mut batch = Vec::new();
    let mut next = Some(reader.next().await?.0);
    while let Some(item) = next {
        match item {
            Item::Message(message) => batch.push(message),
            Item::Lost(count) => tally.lose(count.unwrap_or(1)),
        }
        next = if batch.len() < BATCH {
            reader.take_ready()
        } else {
            None
        };
    }
    Some(batch)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("writing files does not panic")
}

/// What came of a batch.
struct Written {
    /// Messages that are durable, from the first on.
    count: usize,
    /// Bytes of the files in the directory, as far as is known.
    used: Option<u64>,
    problem: Option<String>,
}

fn write_all(directory: &Path, batch: &[Received], quota: u64, used: Option<u64>) -> Written {
    let mut written = Written {
        count: 0,
        used,
        problem: None,
    };
    let result = (|| -> io::Result<()> {
        let mut names = Vec::new();
        for message in batch {
            let size = message.data.len() as u64;
            let mut now = used_by(directory, written.used)?;
            if now + size > quota {
                // Whoever reads the files takes them away, and nobody says so.
                now = used_by(directory, None)?;
            }
            if now + size > quota {
                written.used = None;
                written.problem = Some(format!(
                    "{} has {now} bytes, and its quota is {quota}; take files away, or allow more",
                    directory.display()
                ));
                break;
            }
            let name = name_of(message);
            let partial = directory.join(format!("{PARTIAL}{name}"));
            write_partial(&partial, &message.data)?;
            names.push((partial, directory.join(name)));
            written.used = Some(now + size);
        }
        for (partial, name) in &names {
            fs::rename(partial, name)?;
        }
        File::open(directory)?.sync_all()?;
        written.count = names.len();
        Ok(())
    })();
    if let Err(error) = result {
        written.used = None;
        written.problem = Some(format!("{}: {error}", directory.display()));
    }
    written
}

fn write_partial(path: &PathBuf, data: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(path)?;
    file.write_all(data)?;
    file.sync_all()
}

/// When it came, who published it, and its number: in the order of names is the order in which they came.
fn name_of(message: &Received) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let id = message.id.to_string();
    let number = id.get(id.len().saturating_sub(16)..).unwrap_or_default();
    format!("{:020}.{}.{number}", now.as_nanos(), message.from)
}

/// Bytes of the files in a directory, counted unless they are `known`.
fn used_by(directory: &Path, known: Option<u64>) -> io::Result<u64> {
    if let Some(known) = known {
        return Ok(known);
    }
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        // One that is taken away meanwhile has no size any more.
        bytes += entry?.metadata().map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}

/// Takes away what an earlier run has not ended.
fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let partial = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PARTIAL));
    for entry in partial {
        // The next one of that name takes its place.
        let _ = fs::remove_file(entry.path());
    }
}
