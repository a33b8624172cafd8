//! What became of records that came from others.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::RecordError;

/// Why a record was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is none of this network's.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It is of another channel than the one it came for.
    #[error("it is of another channel")]
    OtherChannel,
    /// A newer one is known.
    #[error("a newer one is known")]
    Older,
}

impl Refused {
    /// Every reason, as it is counted.
    pub const REASONS: [&str; 5] = ["oversized", "malformed", "forged", "other_channel", "older"];

    /// The reason in a word.
    pub const fn reason(self) -> &'static str {
        let [oversized, malformed, forged, other_channel, older] = Self::REASONS;
        match self {
            Self::Record(RecordError::Oversized) => oversized,
            Self::Record(RecordError::Malformed(_)) => malformed,
            Self::Record(RecordError::Forged) => forged,
            Self::OtherChannel => other_channel,
            Self::Older => older,
        }
    }
}

/// Counts since the start; clones are one.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    taken: AtomicU64,
    refused: [AtomicU64; Refused::REASONS.len()],
}

impl Counts {
    pub(crate) fn took(&self) {
        self.0.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, refused: Refused) {
        let reasons = Refused::REASONS.iter().zip(&self.0.refused);
        for (_, count) in reasons.filter(|(reason, _)| **reason == refused.reason()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts it; what becomes of the message that it came in.
    pub(crate) fn reject(&self, refused: Refused) -> cardume_gossipsub::Verdict {
        self.refused(refused);
        cardume_gossipsub::Verdict::Reject
    }

    /// Records of others that were newer than what was known.
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// Records that were refused, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.refused.iter().map(|count| count.load(Ordering::Relaxed));
        Refused::REASONS.into_iter().zip(counts)
    }
}
