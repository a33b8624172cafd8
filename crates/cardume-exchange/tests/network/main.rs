//! Several exchanges over loopback: each with its own swarm, store and directory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
mod allow;
mod bounds;
mod care;
mod fetching;
mod giving_up;
mod hostile;
mod load;
mod node;
mod origins;
mod reading;
mod sharing;
mod slow;
