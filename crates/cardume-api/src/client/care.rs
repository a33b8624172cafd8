//! Care for what is stored.
use cardume_content::Cid;

use super::{Client, ClientError};
use crate::{NewRepair, Operation};

impl Client {
    /// Hashes one root anew, or everything, and gets what is broken from peers again; the operation ends in
    /// [`Repaired`](crate::Repaired).
    ///
    /// # Errors
    /// `not_found` when it is no root, `denied` when the caller may not have files overwritten.
    pub async fn repair(&self, cid: Option<Cid>, repair: &NewRepair) -> Result<Operation, ClientError> {
        match cid {
            Some(cid) => {
                self.post(&["v1", "files", &cid.to_string(), "repair"], repair)
                    .await
            }
            None => self.post(&["v1", "repair"], repair).await,
        }
    }

    /// Deletes what nothing needs any more; the operation ends in [`Collected`](crate::Collected).
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn collect(&self) -> Result<Operation, ClientError> {
        self.post(&["v1", "gc"], &()).await
    }

    /// Adds up what one root takes, or every root; the operation ends in [`Measured`](crate::Measured).
    ///
    /// # Errors
    /// `not_found` when it is no root.
    pub async fn measure(&self, cid: Option<Cid>) -> Result<Operation, ClientError> {
        match cid {
            Some(cid) => self.post(&["v1", "files", &cid.to_string(), "du"], &()).await,
            None => self.post(&["v1", "du"], &()).await,
        }
    }
}
