//! Answers taken in: handed to be verified, and what came of that.
use std::{ops::Range, sync::Arc, time::Instant};

use bytes::Bytes;
use cardume_content::{
    PIECE, PieceSet,
    pieces::{piece_count, piece_range},
};
use cardume_transfer::{RequestError, Response, message::Item};
use futures::FutureExt;
use libp2p_identity::PeerId;

use super::{
    Answer, BlobState, Download, Event, Sink,
    check::{self, Check, Checked, Got, Work, proof_range},
};
use crate::{
    FetchError,
    goal::Goal,
    schedule::{Ask, BlobId, ItemId, Refusal, Ticket},
};

impl Download {
    pub(super) fn on_answer(&mut self, (ticket, peer, ask, answer): Answer) {
        self.aborts.remove(&ticket);
        let Ok(answer) = answer else { return };
        let now = Instant::now();
        let refusal = match answer {
            Ok(Response::NotFound) => Refusal::NotFound,
            Ok(Response::Busy { retry_after }) if retry_after.is_zero() => Refusal::Elsewhere,
            Ok(Response::Busy { retry_after }) => Refusal::Busy(retry_after),
            // It is asked again as one that does not have it yet; of the root, more is learnt from the search.
            Ok(Response::Coming { .. }) => {
                if let Ask::Have { blob, .. } = ask {
                    self.note_coming(blob);
                }
                Refusal::NotFound
            }
            Ok(Response::Denied) => return self.drop_peer(peer, "it denies the content"),
            Ok(response) => {
                if self.finder.transfer.is_relayed(&peer) {
                    self.relayed.received(response.payload_len());
                }
                return self.on_response(ticket, peer, ask, response, now);
            }
            Err(RequestError::Malformed(reason)) => return self.ban(peer, &reason),
            Err(RequestError::Unsupported) => return self.drop_peer(peer, "it does not speak the protocol"),
            Err(RequestError::Unreachable(reason)) => return self.drop_peer(peer, &reason),
            Err(error) => {
                tracing::debug!(%peer, %error, "a request failed");
                Refusal::Failed
            }
        };
        if !self.schedule.on_refusal(ticket, now, refusal) {
            self.drop_peer(peer, "it failed too often");
        }
    }

    fn on_response(&mut self, ticket: Ticket, peer: PeerId, ask: Ask, response: Response, now: Instant) {
        match (ask, response) {
            (
                Ask::Have { .. },
                Response::Have {
                    size,
                    version,
                    pieces,
                },
            ) => {
                if !self.schedule.on_have(ticket, now, size, version, pieces) {
                    self.ban(peer, "it claims a size that is not the content's");
                }
            }
            (Ask::Piece { blob, size, piece }, Response::Slices { size: told, slices }) => {
                self.schedule.on_content(ticket, now);
                match <[Bytes; 1]>::try_from(slices) {
                    Ok([slice]) if told == size => self.check_piece(ticket, peer, blob, size, piece, slice),
                    _ => self.ban(peer, "its answer is for another size than it claimed"),
                }
            }
            (Ask::Proof { blob, size, along }, Response::Slices { size: told, slices }) => {
                self.schedule.on_content(ticket, now);
                let ranges = along.map(|piece| piece_range(size, piece));
                let mut slices = slices.into_iter();
                match slices.next_back() {
                    Some(slice) if told == size && slices.len() == ranges.clone().count() => {
                        let along = ranges.zip(slices).collect();
                        self.check_proof(ticket, peer, blob, size, slice, along);
                    }
                    _ => self.ban(peer, "its answer is for another size than it claimed"),
                }
            }
            (Ask::Many { items }, Response::Many { items: given }) => {
                self.schedule.on_content(ticket, now);
                self.check_many(ticket, peer, items, given);
            }
            _ => self.ban(peer, "its answer is none to what was asked"),
        }
    }

    fn check_piece(
        &mut self,
        ticket: Ticket,
        peer: PeerId,
        blob: BlobId,
        size: u64,
        piece: u64,
        slice: Bytes,
    ) {
        let Some(state) = self.blobs.get_mut(&blob) else {
            return self.schedule.end(ticket);
        };
        let Some(fetch) = state.fetch.clone() else {
            return self.schedule.end(ticket);
        };
        state.checking += 1;
        let work = Check::new(state.cid.hash(), size, piece_range(size, piece), slice).write(fetch);
        self.check(ticket, peer, blob, piece, work);
    }

    fn check_proof(
        &mut self,
        ticket: Ticket,
        peer: PeerId,
        blob: BlobId,
        size: u64,
        slice: Bytes,
        along: Vec<(Range<u64>, Bytes)>,
    ) {
        // One at a time: another peer may have been asked too, because this one was late.
        let is_open = |state: &&mut BlobState| state.fetch.is_none() && state.checking == 0;
        let Some(state) = self.blobs.get_mut(&blob).filter(is_open) else {
            return self.schedule.end(ticket);
        };
        state.checking += 1;
        self.schedule.set_proving(blob, true);
        let check = Check::new(state.cid.hash(), size, proof_range(size), slice);
        let work = check.prove(state.expected, state.max, state.goal.clone(), along);
        let last = piece_count(size).saturating_sub(1);
        self.check(ticket, peer, blob, last, work);
    }

    fn check(&mut self, ticket: Ticket, peer: PeerId, blob: BlobId, piece: u64, work: Work) {
        let disk = self.disk.clone();
        let checked = async move {
            let got = disk.run(work).await?;
            Ok(Checked::Piece {
                ticket,
                peer,
                blob,
                piece,
                got,
            })
        };
        self.checks.push(checked.boxed());
    }

    fn check_many(&mut self, ticket: Ticket, peer: PeerId, items: Vec<ItemId>, given: Vec<Item>) {
        let mut wanted = Vec::new();
        let mut lacking = Vec::new();
        for (id, item) in items.into_iter().zip(given) {
            let Some(state) = self.items.get(&id) else {
                continue;
            };
            match item {
                Item::Blob { size, slice } => {
                    wanted.push(check::Small {
                        id,
                        cid: state.cid,
                        size,
                        expected: state.expected,
                        sink: state.sink.clone(),
                        slice,
                    });
                }
                Item::NotFound => lacking.push(id),
                Item::TooLarge { size } if size > PIECE => {
                    self.items.remove(&id);
                    self.schedule.item_verified(id);
                    self.ready.push_back(Event::TooLarge { item: id });
                }
                Item::TooLarge { .. } => lacking.push(id),
            }
        }
        let disk = self.disk.clone();
        let checked = async move {
            let results = disk.run(move |store| check::small(store, wanted)).await?;
            Ok(Checked::Many {
                ticket,
                peer,
                lacking,
                results,
            })
        };
        self.checks.push(checked.boxed());
    }

    pub(super) fn on_checked(&mut self, checked: Checked) -> Result<(), FetchError> {
        match checked {
            Checked::Piece {
                ticket,
                peer,
                blob,
                piece,
                got,
            } => self.on_piece(ticket, peer, blob, piece, got),
            Checked::Many {
                ticket,
                peer,
                lacking,
                results,
            } => self.on_many(ticket, peer, &lacking, results),
            Checked::Web { results } => self.on_web_items(results),
        }
    }

    fn on_piece(
        &mut self,
        ticket: Ticket,
        peer: PeerId,
        id: BlobId,
        piece: u64,
        got: Result<Got, check::Failure>,
    ) -> Result<(), FetchError> {
        if let Some(state) = self.blobs.get_mut(&id) {
            state.checking = state.checking.saturating_sub(1);
        }
        match got {
            Ok(Got::Written(bytes)) => {
                self.credit(peer, self.counted(id, bytes));
                self.on_written(id, piece, bytes);
                self.schedule.end(ticket);
            }
            Ok(Got::Opened { fetch, held, bytes }) => {
                self.credit(peer, self.counted(id, bytes));
                self.schedule.end(ticket);
                self.on_opened(id, fetch, &held);
            }
            Err(check::Failure::Lie(reason)) => {
                self.schedule.set_proving(id, false);
                self.ban(peer, &reason);
            }
            Err(check::Failure::Fatal(error)) => return Err(error),
        }
        self.complete_if_whole(id);
        Ok(())
    }

    /// The size of a blob is proven: everybody who claimed another has lied.
    fn on_opened(&mut self, id: BlobId, fetch: cardume_store::Fetch, held: &PieceSet) {
        let Some(state) = self.blobs.get_mut(&id) else {
            return;
        };
        state.size = fetch.size();
        let here: u64 = held.iter().map(|piece| piece_len(state.size, piece)).sum();
        let fetch = Arc::new(fetch);
        state.fetch = Some(fetch.clone());
        let hash = state.cid.hash();
        self.finder.sending.relay(state.cid, Instant::now());
        let liars = self.schedule.start_blob(id, fetch.size(), held.clone());
        for liar in liars {
            self.ban(liar, "it claims a size that is not the content's");
        }
        let size = fetch.size();
        self.leave_to_peers(id, size);
        self.tally.done(self.counted(id, here));
        self.disk.changes.tell(hash);
        self.ready.push_back(Event::Started { blob: id, fetch });
    }

    fn on_written(&mut self, id: BlobId, piece: u64, bytes: u64) {
        let tickets = self.schedule.verified(id, piece);
        self.abort(&tickets);
        let Some(state) = self.blobs.get(&id) else {
            return;
        };
        // No bytes: another answer brought the piece meanwhile, to us or to another fetch of the same blob.
        let counted = if matches!(state.goal, Goal::Manifest) {
            0
        } else {
            bytes
        };
        self.tally.done(counted);
        let hash = state.cid.hash();
        self.disk.changes.tell(hash);
        self.ready.push_back(Event::Piece);
    }

    /// Ends a blob of which nothing is missing and nothing is still being counted.
    ///
    /// Asked of what is held, never counted along: two answers may bring one piece at the same time.
    fn complete_if_whole(&mut self, id: BlobId) {
        let Some(state) = self.blobs.get(&id) else { return };
        let Some(fetch) = state.fetch.clone() else { return };
        if state.checking > 0 || fetch.missing() > 0 {
            return;
        }
        self.blobs.remove(&id);
        self.web.stop(id);
        let tickets = self.schedule.remove_blob(id);
        self.abort(&tickets);
        self.ready.push_back(Event::Complete { blob: id, fetch });
    }

    fn on_many(
        &mut self,
        ticket: Ticket,
        peer: PeerId,
        lacking: &[ItemId],
        results: Vec<(ItemId, Result<check::Kept, check::Failure>)>,
    ) -> Result<(), FetchError> {
        let mut lie = None;
        for (item, kept) in results {
            match kept {
                Ok(kept) => {
                    let Some(state) = self.items.remove(&item) else {
                        continue;
                    };
                    self.web.stop(item);
                    self.schedule.item_verified(item);
                    let counted = if matches!(state.sink, Sink::Goal(_)) {
                        kept.size
                    } else {
                        0
                    };
                    self.credit(peer, counted);
                    self.tally.done(counted);
                    self.disk.changes.tell(state.cid.hash());
                    self.ready.push_back(Event::Item {
                        item,
                        manifest: kept.manifest,
                        fetch: kept.fetch,
                    });
                }
                Err(check::Failure::Lie(reason)) => lie = Some(reason),
                Err(check::Failure::Fatal(error)) => return Err(error),
            }
        }
        self.schedule.end_many(ticket, Instant::now(), lacking);
        if let Some(reason) = lie {
            self.ban(peer, &reason);
        }
        Ok(())
    }

    /// What of the bytes of a blob counts as content: descriptions of directories do not.
    fn counted(&self, id: BlobId, bytes: u64) -> u64 {
        let is_manifest = |blob: &BlobState| matches!(blob.goal, Goal::Manifest);
        if self.blobs.get(&id).is_some_and(is_manifest) {
            0
        } else {
            bytes
        }
    }

    fn credit(&mut self, peer: PeerId, bytes: u64) {
        self.hope.moved(Instant::now());
        if bytes > 0 {
            self.tally.fetched(peer, bytes);
        }
    }
}

fn piece_len(size: u64, piece: u64) -> u64 {
    let range = piece_range(size, piece);
    range.end - range.start
}
