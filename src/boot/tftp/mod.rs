//! TFTP: loaders from memory, to hundreds of machines at once.
//!
//! **Invariant:** what a datagram leads to is decided in [`request`] and [`session`] from values; [`serve`] only owns sockets,
//! timers and caps. Follows RFC 1350, 2347, 2348, 2349 and 7440.

pub mod request;
pub mod serve;
pub mod session;
pub mod texts;
