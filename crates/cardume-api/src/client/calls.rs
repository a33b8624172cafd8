//! One method for each endpoint.
use cardume_content::Cid;
use futures::Stream;
use reqwest::Method;

use super::{Client, ClientError, GREETING_TIMEOUT, Place, lines};
use crate::{
    BlockedPeer, Code, Diagnosis, Entry, File, Kad, Nat, NetTraffic, NewFetch, NewManifest, NewPeer, NewRoot,
    NewShare, Operation, Peer, PeerDetails, Ping, Plan, Provider, Rendezvous, Stat, Status, Uploaded,
    Version,
};

/// The node itself.
impl Client {
    /// Which program answers; the quickest question there is. None when it is too old to say.
    ///
    /// # Errors
    /// `timeout` when something takes the call and does not answer within ten seconds.
    pub async fn version(&self) -> Result<Option<Version>, ClientError> {
        let request = self
            .request(Method::GET, &["v1", "version"])
            .timeout(GREETING_TIMEOUT);
        match self.json(request).await {
            Ok(version) => Ok(Some(version)),
            Err(ClientError::Problem(problem)) if problem.code == Code::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How the node is.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get(&["v1", "status"]).await
    }

    /// How the node can be reached.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn nat(&self) -> Result<Nat, ClientError> {
        self.get(&["v1", "nat"]).await
    }

    /// Rendezvous points of the node, and whether it is registered there.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn rendezvous(&self) -> Result<Rendezvous, ClientError> {
        self.get(&["v1", "rendezvous"]).await
    }

    /// What goes over the node's connections; measures for so many milliseconds how fast, at most ten seconds.
    ///
    /// # Errors
    /// `usage` when the time is too long.
    pub async fn traffic(&self, measure_ms: u64) -> Result<NetTraffic, ClientError> {
        let request = self.request(Method::GET, &["v1", "net", "traffic"]);
        self.json(request.query(&[("measure_ms", measure_ms)])).await
    }

    /// The configuration the node runs with.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn config(&self) -> Result<serde_json::Value, ClientError> {
        self.get(&["v1", "config"]).await
    }

    /// What the configuration files would change now.
    ///
    /// # Errors
    /// `bad_config` when there are mistakes in them, each with its place.
    pub async fn plan(&self) -> Result<Plan, ClientError> {
        self.get(&["v1", "config", "plan"]).await
    }

    /// Has the node take over what its configuration files say, as far as it can without a restart.
    ///
    /// # Errors
    /// `bad_config` when there are mistakes in them, each with its place: nothing has changed then. `denied` unless the
    /// caller is the node's own user or root.
    pub async fn reload(&self) -> Result<Plan, ClientError> {
        self.json(self.request(Method::POST, &["v1", "config", "reload"]))
            .await
    }

    /// Has the node examine itself, as `cardume doctor` does.
    ///
    /// # Errors
    /// `unavailable` when the program that runs the node knows no doctor.
    pub async fn examine(&self) -> Result<Diagnosis, ClientError> {
        self.json(self.request(Method::POST, &["v1", "doctor"])).await
    }

    /// Stops the node; answered before it has stopped.
    ///
    /// # Errors
    /// `denied` unless the caller is the node's own user or root.
    pub async fn stop(&self) -> Result<(), ClientError> {
        self.done(Method::POST, &["v1", "stop"]).await
    }
}

/// Operations.
impl Client {
    /// Operations that run, and the last that have ended.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn operations(&self) -> Result<Vec<Operation>, ClientError> {
        self.get(&["v1", "operations"]).await
    }

    /// One operation.
    ///
    /// # Errors
    /// `not_found` when there is none of that id, or it ended too long ago.
    pub async fn operation(&self, id: &str) -> Result<Operation, ClientError> {
        self.get(&["v1", "operations", id]).await
    }

    /// Cancels an operation; nothing happens to one that has ended.
    ///
    /// # Errors
    /// `not_found` when there is none of that id.
    pub async fn cancel(&self, id: &str) -> Result<(), ClientError> {
        self.done(Method::DELETE, &["v1", "operations", id]).await
    }
}

/// Content.
impl Client {
    /// Shares a file or a directory of the node's machine; the operation ends in [`Shared`](crate::Shared).
    ///
    /// # Errors
    /// `denied` when the caller may not hand in paths: upload the bytes instead.
    pub async fn share(&self, share: &NewShare) -> Result<Operation, ClientError> {
        self.post(&["v1", "shares"], share).await
    }

    /// Makes a directory of content that the store has.
    ///
    /// # Errors
    /// `not_found` when an entry's content is not held, `usage` when the entries make no directory.
    pub async fn upload_manifest(&self, manifest: &NewManifest) -> Result<Uploaded, ClientError> {
        self.post(&["v1", "manifests"], manifest).await
    }

    /// Keeps and shares uploaded content under a name.
    ///
    /// # Errors
    /// `not_found` when the store does not have it.
    pub async fn add_root(&self, root: &NewRoot) -> Result<File, ClientError> {
        self.send_json(self.request(Method::POST, &["v1", "roots"]), root)
            .await
    }

    /// The roots of the store.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn files(&self) -> Result<Vec<File>, ClientError> {
        self.get(&["v1", "files"]).await
    }

    /// Forgets a root. Files in place stay where they are.
    ///
    /// # Errors
    /// `not_found` when it is no root, `conflict` when it is pinned.
    pub async fn remove(&self, cid: Cid) -> Result<(), ClientError> {
        self.done(Method::DELETE, &["v1", "files", &cid.to_string()])
            .await
    }

    /// Keeps a root whatever happens, or no longer.
    ///
    /// # Errors
    /// `not_found` when it is no root.
    pub async fn pin(&self, cid: Cid, pinned: bool) -> Result<(), ClientError> {
        let method = if pinned { Method::PUT } else { Method::DELETE };
        self.done(method, &["v1", "files", &cid.to_string(), "pin"]).await
    }

    /// Hashes one root anew, or everything; the operation ends in [`Verified`](crate::Verified).
    ///
    /// # Errors
    /// `not_found` when it is no root.
    pub async fn verify(&self, cid: Option<Cid>) -> Result<Operation, ClientError> {
        match cid {
            Some(cid) => self.post(&["v1", "files", &cid.to_string(), "verify"], &()).await,
            None => self.post(&["v1", "verify"], &()).await,
        }
    }

    /// What is known of some content.
    ///
    /// # Errors
    /// `not_found` when neither the store nor any peer has what is needed to tell.
    pub async fn stat(&self, place: &Place) -> Result<Stat, ClientError> {
        let request = self.request(Method::GET, &["v1", "stat", &place.cid.to_string()]);
        self.json(place.onto(request)).await
    }

    /// The entries of a directory.
    ///
    /// # Errors
    /// `not_found` when no peer has it, `usage` when it is a file.
    pub async fn list(&self, place: &Place) -> Result<Vec<Entry>, ClientError> {
        let request = self.request(Method::GET, &["v1", "list", &place.cid.to_string()]);
        self.json(place.onto(request)).await
    }

    /// Gets content from peers; the operation ends in [`Fetched`](crate::Fetched).
    ///
    /// # Errors
    /// `denied` when the caller may not hand in paths and gave a destination: read the [`content`](Self::content)
    /// instead. A destination that exists fails the operation, with `conflict`.
    pub async fn fetch(&self, fetch: &NewFetch) -> Result<Operation, ClientError> {
        self.post(&["v1", "fetches"], fetch).await
    }
}

/// Peers and the DHT.
impl Client {
    /// Peers connected.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn peers(&self) -> Result<Vec<Peer>, ClientError> {
        self.get(&["v1", "peers"]).await
    }

    /// Connects to a peer, and tells of it when it is connected.
    ///
    /// # Errors
    /// `not_found` when nobody answers, `denied` when it is refused.
    pub async fn connect(&self, peer: &NewPeer) -> Result<Peer, ClientError> {
        self.send_json(self.request(Method::POST, &["v1", "peers"]), peer)
            .await
    }

    /// What is known of a peer, by its id or the name that configuration gives it.
    ///
    /// # Errors
    /// `not_found` when nothing is.
    pub async fn peer(&self, peer: &str) -> Result<PeerDetails, ClientError> {
        self.get(&["v1", "peers", peer]).await
    }

    /// Asks a peer for an answer; connects first, if need be.
    ///
    /// # Errors
    /// `not_found` when nobody answers.
    pub async fn ping(&self, peer: &str) -> Result<Ping, ClientError> {
        self.json(self.request(Method::POST, &["v1", "peers", peer, "ping"]))
            .await
    }

    /// Cuts a peer off and refuses it from now on, after a restart too.
    ///
    /// # Errors
    /// `limit` when too many are blocked.
    pub async fn block(&self, peer: &str) -> Result<(), ClientError> {
        self.done(Method::PUT, &["v1", "blocked", peer]).await
    }

    /// Refuses a peer no longer.
    ///
    /// # Errors
    /// `not_found` when it is not blocked.
    pub async fn unblock(&self, peer: &str) -> Result<(), ClientError> {
        self.done(Method::DELETE, &["v1", "blocked", peer]).await
    }

    /// The peers that the node refuses.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn blocked(&self) -> Result<Vec<BlockedPeer>, ClientError> {
        self.get(&["v1", "blocked"]).await
    }

    /// Closes all connections to a peer.
    ///
    /// # Errors
    /// `not_found` when there is none.
    pub async fn disconnect(&self, peer: &str) -> Result<(), ClientError> {
        self.done(Method::DELETE, &["v1", "peers", peer]).await
    }

    /// How the node takes part in the DHT.
    ///
    /// # Errors
    /// `unavailable` when it does not.
    pub async fn kad(&self) -> Result<Kad, ClientError> {
        self.get(&["v1", "kad"]).await
    }

    /// Providers of some content, as they are found; ends with the lookup.
    ///
    /// # Errors
    /// `unavailable` when the node takes no part in the DHT.
    pub async fn providers(
        &self,
        cid: Cid,
    ) -> Result<impl Stream<Item = Result<Provider, ClientError>> + Send + 'static + use<>, ClientError> {
        let request = self.request(Method::GET, &["v1", "kad", "providers", &cid.to_string()]);
        Ok(lines(self.send(request).await?))
    }

    /// Announces this node as a provider of some content until it stops.
    ///
    /// # Errors
    /// `unavailable` when no peer of the DHT is known.
    pub async fn provide(&self, cid: Cid) -> Result<(), ClientError> {
        self.send(self.request(Method::PUT, &["v1", "kad", "providers", &cid.to_string()]))
            .await
            .map(drop)
    }

    /// Looks a peer's addresses up.
    ///
    /// # Errors
    /// `not_found` when the DHT does not know it.
    pub async fn find_peer(&self, peer: &str) -> Result<Vec<Provider>, ClientError> {
        self.json(self.request(Method::GET, &["v1", "kad", "peers", peer]))
            .await
    }

    /// Reads a record of the DHT.
    ///
    /// # Errors
    /// `not_found` when there is none.
    pub async fn record(&self, key: &str) -> Result<bytes::Bytes, ClientError> {
        let request = self.request(Method::GET, &["v1", "kad", "records", key]);
        self.send(request)
            .await?
            .bytes()
            .await
            .map_err(ClientError::reading)
    }

    /// Writes a record of the DHT.
    ///
    /// # Errors
    /// `limit` when it is too large, `unavailable` when no peer of the DHT is known.
    pub async fn put_record(&self, key: &str, value: bytes::Bytes) -> Result<(), ClientError> {
        let request = self.request(Method::PUT, &["v1", "kad", "records", key]);
        self.send(request.body(value)).await.map(drop)
    }
}
