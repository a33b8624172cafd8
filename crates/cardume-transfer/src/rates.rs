//! How fast content goes out and comes in, and what changes that: configuration, the hour, or a user.
//!
//! Paces only content: questions and small answers pass it by, so that a full line delays neither them nor
//! whatever else the connection carries. The arithmetic is [`cardume_access::rates`]; here are its clock, and
//! those who wait for it.
mod config;
mod gate;
mod handle;
mod meter;
mod server;
mod timetable;

pub(crate) use self::gate::{Gate, Pass};
pub use self::{
    config::{Changes, Config, Day, Limits, Mistake, Schedule},
    handle::{Handle, Origin, Report},
    server::Server,
};
