//! What is missing is got, and no more at once than is of use.
use super::{
    Work,
    job::{Job, Wanted},
};
use crate::{
    FetchError,
    download::{Event, Sink},
    goal::Site,
    lay::{self, Here},
};
use cardume_content::PIECE;
use cardume_store::Store;

/// Small files being asked for at once; several requests' worth.
const MAX_SMALL: usize = 8 * 1024;
/// Files prepared in one go on a blocking thread.
const CHUNK: usize = 512;

impl Work<'_> {
    /// Copies what the store has, and takes what an earlier try has left.
    async fn take_held(&mut self, job: &mut Job) -> Result<(), FetchError> {
        let mut missing = Vec::new();
        while !job.wanted.is_empty() {
            let chunk: Vec<Wanted> = job.wanted.drain(..job.wanted.len().min(CHUNK)).collect();
            let site = job.site.clone();
            let within = self.request.link_within.clone();
            let results = self
                .disk
                .run(move |store| {
                    chunk
                        .into_iter()
                        .map(|wanted| lay::take(store, site.as_ref(), within.as_deref(), wanted))
                        .collect::<Vec<_>>()
                })
                .await?;
            for result in results {
                match result? {
                    (wanted, Some(here)) => {
                        match here {
                            Here::Held => job.complete(&wanted.first, None),
                            Here::Resumed(fetch) => job.complete(&wanted.first, Some(fetch)),
                            Here::Linked(linked) => job.linked.push((linked, wanted.first.path.clone())),
                        }
                        self.count(&wanted);
                    }
                    (wanted, None) => missing.push(wanted),
                }
            }
        }
        (job.wanted_small, job.wanted) = missing.into_iter().partition(|wanted| wanted.first.size <= PIECE);
        Ok(())
    }

    /// Gets everything that is not here.
    pub(super) async fn get(&mut self, job: &mut Job, is_size_sure: bool) -> Result<(), FetchError> {
        self.take_held(job).await?;
        if is_size_sure {
            self.claim(job).await?;
        }
        loop {
            self.feed(job, is_size_sure);
            if job.running.is_empty() {
                return Ok(());
            }
            let event = self.download.next().await?;
            self.on_event(job, event).await?;
        }
    }

    /// Takes a destination away again that was refused before anything came to it.
    pub(super) async fn leave_nothing(&mut self, site: Option<Site>) {
        let Some(site) = site.filter(|_| self.download.tally.fetched_bytes() == 0) else {
            return;
        };
        let remove = move |_: &Store| {
            let place = site.lock();
            let temporary = place.temporary_path();
            if place.is_resumed() {
                return;
            }
            // Best effort: the refusal is what is to be told.
            let _ = std::fs::remove_file(&temporary).or_else(|_| std::fs::remove_dir_all(&temporary));
        };
        // Fails only when the node is stopping.
        let _ = self.disk.run(remove).await;
    }

    /// Has room promised for all that is missing, before any of it comes.
    async fn claim(&mut self, job: &Job) -> Result<(), FetchError> {
        let missing = job.wanted.iter().chain(&job.wanted_small);
        let blobs: Vec<_> = missing
            .map(|wanted| (wanted.first.cid.hash(), wanted.size(job.site.is_some())))
            .collect();
        if blobs.is_empty() {
            return Ok(());
        }
        let site = job.site.clone();
        let claim = self
            .disk
            .run(move |store| {
                let temporary = site.map(|site| site.lock().temporary_path());
                store.claim(&blobs, temporary.as_deref())
            })
            .await??;
        self.claim = Some(claim);
        Ok(())
    }

    /// Counts a blob that is here without having been fetched.
    fn count(&mut self, wanted: &Wanted) {
        self.download.tally.done(wanted.first.size);
        self.count_files(wanted);
    }

    fn count_files(&mut self, wanted: &Wanted) {
        self.download.tally.file_done();
        for other in &wanted.others {
            self.download.tally.done(other.size);
            self.download.tally.file_done();
        }
    }

    /// Keeps the download busy, and no more: what waits costs memory and open files.
    fn feed(&mut self, job: &mut Job, is_size_sure: bool) {
        while self.download.unfinished_items() < MAX_SMALL
            && let Some(wanted) = job.wanted_small.pop_front()
        {
            let expected = is_size_sure.then_some(wanted.first.size);
            let sink = Sink::Goal(job.goal(&wanted.first));
            let id = self.download.add_item(wanted.first.cid, expected, sink);
            job.running.insert(id, wanted);
        }
        while self.download.unfinished_blobs() < self.config.max_open_files.max(1)
            && let Some(wanted) = job.wanted.pop_front()
        {
            let expected = is_size_sure.then_some(wanted.first.size);
            let (goal, max) = (job.goal(&wanted.first), self.config.max_total.get());
            let id = self
                .download
                .add_blob(wanted.first.cid, expected, max, goal, false);
            job.running.insert(id, wanted);
        }
    }

    async fn on_event(&mut self, job: &mut Job, event: Event) -> Result<(), FetchError> {
        match event {
            Event::Item { item, fetch, .. } => {
                if let (Some(wanted), Some(fetch)) = (job.running.remove(&item), fetch) {
                    if let Some(claim) = &self.claim {
                        claim.arrived(wanted.first.size);
                    }
                    self.finish_file(job, wanted, fetch).await?;
                }
            }
            Event::Complete { blob, fetch } => {
                if let Some(wanted) = job.running.remove(&blob) {
                    self.finish_file(job, wanted, cardume_store::Fetch::clone(&fetch))
                        .await?;
                }
            }
            Event::TooLarge { item } => {
                if let Some(wanted) = job.running.remove(&item) {
                    let goal = job.goal(&wanted.first);
                    let max = self.config.max_total.get();
                    let blob = self.download.add_blob(wanted.first.cid, None, max, goal, false);
                    job.running.insert(blob, wanted);
                }
            }
            Event::Started { fetch, .. } => {
                if let Some(claim) = &self.claim {
                    claim.arrived(fetch.size());
                }
                if job.is_single {
                    self.download.tally.wanted(fetch.size(), 1);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A blob is complete: it is copied to where else it is wanted.
    async fn finish_file(
        &mut self,
        job: &mut Job,
        mut wanted: Wanted,
        fetch: cardume_store::Fetch,
    ) -> Result<(), FetchError> {
        wanted.first.size = fetch.size();
        let is_ours = job.is_target(&fetch, &wanted.first);
        // Small blobs of the store's own were finished when they were verified.
        let is_kept = job.site.is_none() && wanted.first.size <= PIECE;
        if !is_kept && (job.site.is_none() || !is_ours || !wanted.others.is_empty()) {
            let (site, wanted, fetch) = (job.site.clone(), wanted.clone(), fetch.clone());
            self.disk
                .run(move |store| lay::copy_out(store, site.as_ref(), &wanted, &fetch, is_ours))
                .await??;
        }
        self.count_files(&wanted);
        job.complete(&wanted.first, is_ours.then_some(fetch));
        Ok(())
    }
}
