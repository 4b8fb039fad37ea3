//! Desired against observed: the one place where anything is decided.
//!
//! **Invariant:** pure; the same site and the same observation give the same plan to the byte.

mod boot;
mod clone;
mod compute;
mod context;
mod draft;
mod gather;
mod glob;
mod in_use;
mod lio;
mod model;
mod op;
mod order;
mod pool;
mod render;
mod render_op;
mod seat;
mod version;

pub use compute::{Prepared, compute, prepare};
pub use glob::Targets;
pub use model::*;
pub use op::{ConfigFsOp, Op, SecretPart, Step};
pub use pool::is_half_made_pool;
pub use render::{render_ops, render_text};
pub use render_op::render_op;
