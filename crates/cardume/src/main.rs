//! A peer-to-peer node.
fn main() {}
