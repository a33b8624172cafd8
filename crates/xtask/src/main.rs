//! Checks and chores of this workspace.
fn main() {}
