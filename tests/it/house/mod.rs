//! The house itself: rooms, schemas, licences.

pub mod layering;
pub mod licences;
pub mod schemas;
