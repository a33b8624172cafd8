//! A peer that lies.
