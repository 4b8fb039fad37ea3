//! Desired against observed: the one place where anything is decided.
//!
//! **Invariant:** pure; the same site and the same observation give the same plan to the byte.

mod model;
mod op;
mod render_op;

pub use model::*;
pub use op::{ConfigFsOp, Op, Step};
pub use render_op::render_op;
