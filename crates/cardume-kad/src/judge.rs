//! Values that prove themselves: whoever gives keys a meaning says which value of several is the one.
use std::cmp::Ordering;

/// Judges the values of some keys, before they are kept for others and before they are believed.
///
/// Called on the swarm's task: it does no more than check a signature.
pub trait Judge: Send + Sync + 'static {
    /// Whether values of this key are judged; of others the latest is kept, and the one most peers have believed.
    fn knows(&self, key: &[u8]) -> bool;

    /// What a value of a known key counts; none if it is not true. The highest is kept and believed, of equals the
    /// one that is greater byte by byte, so that everybody settles on the same.
    fn rank(&self, key: &[u8], value: &[u8]) -> Option<u64>;
}

/// Gives no key a meaning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl Judge for Nothing {
    fn knows(&self, _: &[u8]) -> bool {
        false
    }

    fn rank(&self, _: &[u8], _: &[u8]) -> Option<u64> {
        None
    }
}

/// How a true value of a rank compares to what is there, which may have become worthless.
pub(crate) fn compare(judge: &dyn Judge, key: &[u8], new: (u64, &[u8]), here: &[u8]) -> Ordering {
    (Some(new.0), new.1).cmp(&(judge.rank(key, here), here))
}

/// The best of several values, if one is true.
pub(crate) fn best<'a>(
    judge: &dyn Judge,
    key: &[u8],
    values: impl Iterator<Item = &'a Vec<u8>>,
) -> Option<&'a Vec<u8>> {
    let ranked = values.filter_map(|value| Some((judge.rank(key, value)?, value)));
    ranked.max().map(|(_, value)| value)
}
