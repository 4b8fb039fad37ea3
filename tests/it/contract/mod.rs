//! What the fakes and the real kernel have in common.

pub mod attributes;
pub mod configfs;
pub mod host_ground;
pub mod lvm;
pub mod sessions;
