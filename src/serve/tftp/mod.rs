//! TFTP: loaders from memory, to hundreds of machines at once.
//!
//! **Invariant:** what a datagram leads to is decided in [`request`] and [`session`] from values, how long it is waited for in
//! `waits`; [`serve`] only owns sockets, timers and caps. Follows RFC 1350, 2347, 2348, 2349 and 7440, and RFC 1123 §4.2.

pub mod netascii;
pub mod request;
mod retransmit;
mod room;
pub mod serve;
pub mod session;
#[cfg(test)]
mod tests;
mod transfer;
