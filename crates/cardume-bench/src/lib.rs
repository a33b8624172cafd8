//! Side-by-side measurements of real nodes.
