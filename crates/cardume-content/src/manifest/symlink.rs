//! Symlinks that can do no harm.
use super::{
    ManifestError, Name,
    name::{cut, fault},
};

/// Most bytes of a symlink's target: what Linux allows of a path.
pub const MAX_TARGET_LEN: usize = 4_095;

/// Tells whether a symlink at `depth` directories below the root, with this target, stays inside the root.
///
/// `..` may only come first: after a name it would mean the parent of whatever that name is a symlink to,
/// which is not to be known from the text. So a chain of symlinks, each of which stays inside, does too.
pub fn symlink_stays_inside(depth: u32, target: &str) -> bool {
    matches!(ascent(target), Ok(up) if up <= depth)
}

/// Refuses a symlink that is safe at no depth.
pub(super) fn check(name: &Name, target: &str) -> Result<(), ManifestError> {
    match ascent(target) {
        Ok(_) => Ok(()),
        Err(reason) => Err(ManifestError::Symlink {
            name: name.to_string(),
            target: cut(target),
            reason,
        }),
    }
}

/// How many directories up a target goes first, or what is unsafe about it.
fn ascent(target: &str) -> Result<u32, &'static str> {
    if target.is_empty() {
        return Err("it is empty");
    }
    if target.len() > MAX_TARGET_LEN {
        return Err("it is longer than 4095 bytes");
    }
    if target.starts_with('/') {
        return Err("it is absolute");
    }
    let mut up = 0;
    let mut named = false;
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if named => return Err("it goes up after having gone down"),
            ".." => up += 1,
            name => {
                if let Some(reason) = fault(name) {
                    return Err(reason);
                }
                named = true;
            }
        }
    }
    Ok(up)
}
