//! The doctor of the program that runs the node, and what it has found last.
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cardume_api::{Code, Diagnosis, Problem};
use futures::future::BoxFuture;

/// An examination asks bootstrap peers and hashes a sample of the store; one that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// Examines the node. The future may be dropped; examinations that would be one too many wait in it.
pub type Examine = Arc<dyn Fn() -> BoxFuture<'static, Diagnosis> + Send + Sync>;

/// The doctor, if the program has one; cheap to clone, all clones remember the same.
#[derive(Clone, Default)]
pub struct Doctor {
    examine: Option<Examine>,
    last: Arc<Mutex<Option<(Diagnosis, Instant)>>>,
}

impl Doctor {
    /// A doctor that does as `examine` does.
    pub fn new(examine: Examine) -> Self {
        let examine = Some(examine);
        Self {
            examine,
            ..Self::default()
        }
    }

    /// Examines the node now.
    pub(crate) async fn examine(&self) -> Result<Diagnosis, Problem> {
        let nobody = || {
            Problem::new(
                Code::Unavailable,
                "the program that runs this node knows no doctor",
            )
        };
        let examine = self.examine.as_ref().ok_or_else(nobody)?;
        let late = |_| Problem::new(Code::Timeout, "the examination does not come to an end");
        let found = tokio::time::timeout(PATIENCE, examine()).await.map_err(late)?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((found.clone(), Instant::now()));
        Ok(found)
    }

    /// What was found last, and how long ago.
    pub fn last(&self) -> Option<(Diagnosis, Duration)> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|(found, at)| (found.clone(), at.elapsed()))
    }
}

impl fmt::Debug for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doctor").finish_non_exhaustive()
    }
}
