//! What goes between the node and its peers just now, for the page.
use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use cardume_api::File;
use cardume_content::Cid;
use cardume_exchange::{Destination, Running, Serving};
use cardume_page::Flow;
use libp2p_identity::PeerId;

use super::Parts;

/// Flows that are told, at most: the counters know thousands of peers.
const MAX: usize = 64;

impl Parts {
    /// What this node calls its roots, and what it is fetching.
    pub(super) fn names(&self, files: &[File]) -> BTreeMap<Cid, String> {
        let running = self.handles.exchange.running().into_iter();
        let wanted = running.filter_map(|running| Some((running.request.cid, wanted(&running)?)));
        let files = files.iter().map(|file| (file.cid, file.name.clone()));
        wanted.chain(files).collect()
    }

    /// The fastest flows first; things without a name of this node's are told by the end of their id.
    pub(super) fn flows(&self, names: &BTreeMap<Cid, String>) -> Vec<Flow> {
        let traffic: HashMap<_, _> = self.handles.transfer.traffic().into_iter().collect();
        let mut flows = BTreeMap::<PeerId, Flow>::new();
        for (peer, rates) in self.flows.look(traffic, Instant::now()) {
            let flow = flows.entry(peer).or_default();
            (flow.sent, flow.received) = (rates.sent, rates.received);
        }
        for serving in self.handles.exchange.serving() {
            let name = given(&serving, names);
            add(&mut flows.entry(serving.peer).or_default().gives, name);
        }
        for running in self.handles.exchange.running() {
            let cid = running.request.cid;
            let name = names.get(&cid).cloned().unwrap_or_else(|| end_of(cid));
            for source in &running.progress.borrow().sources {
                add(&mut flows.entry(source.peer).or_default().gets, name.clone());
            }
        }
        let known = self.handles.roll.names();
        let mut flows: Vec<Flow> = flows
            .into_iter()
            .map(|(peer, flow)| Flow {
                peer_id: peer.to_string(),
                name: known.name(&peer).map(str::to_owned),
                ..flow
            })
            .collect();
        flows.sort_by_key(|flow| std::cmp::Reverse(flow.sent.max(flow.received)));
        flows.truncate(MAX);
        flows
    }
}

fn add(things: &mut Vec<String>, name: String) {
    if !things.contains(&name) {
        things.push(name);
    }
}

/// What a peer is given, by the name of its root.
fn given(serving: &Serving, names: &BTreeMap<Cid, String>) -> String {
    let own = names.get(&serving.cid);
    let named = own.or_else(|| names.get(&serving.directory?));
    named.cloned().unwrap_or_else(|| end_of(serving.cid))
}

/// The name that what is fetched will have.
fn wanted(running: &Running) -> Option<String> {
    let request = &running.request;
    let destination = match &request.destination {
        Destination::Path { path, .. } => path.file_name().map(|name| name.to_string_lossy().into_owned()),
        Destination::Store => None,
    };
    request.name.clone().or(destination)
}

fn end_of(cid: Cid) -> String {
    let text = cid.to_string();
    format!("…{}", &text[text.len().saturating_sub(8)..])
}
