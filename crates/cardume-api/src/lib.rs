//! The words of the control API, and its client.
