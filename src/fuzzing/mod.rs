//! What the fuzz targets in `fuzz/` run: one function per door through which bytes of a client, or
//! of another server, come.
//!
//! Not public: it is there under `cfg(fuzzing)`, which `cargo fuzz` sets, and in this crate's own
//! tests, which give each function its seeds and all that was ever found.
//!
//! Each takes any bytes, and panics when something that must hold does not.

mod args;
mod bus;
mod engine;
mod frames;
mod packets;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use self::{
    bus::bus,
    engine::{engine_packet, offers, payload3, payload4},
    frames::{frames, frames_built},
    packets::{decoder, json, msgpack},
};

/// A function that takes what a client may send.
pub type Target = fn(&[u8]);

/// All of them, under the names of the targets in `fuzz/fuzz_targets`.
pub const TARGETS: [(&str, Target); 10] = [
    ("engine_packet", engine_packet),
    ("payload4", payload4),
    ("payload3", payload3),
    ("offers", offers),
    ("frames", frames),
    ("frames_built", frames_built),
    ("decoder", decoder),
    ("msgpack", msgpack),
    ("json", json),
    ("bus", bus),
];
