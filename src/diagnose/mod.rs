//! What is wrong, said to people: [`doctor`] of the server, [`explain`] of one machine's boot.
//!
//! **Invariant:** both judge facts that were gathered first, and change nothing.

pub mod doctor;
pub mod explain;
