//! The text of a commit becomes a [`Site`], or a list of everything that is wrong with it.
//!
//! **Invariant:** pure; reads no file, follows no link, and reports every problem it can see at once.

mod finding;
mod model;
mod tree;

pub use finding::{Finding, Severity};
pub use model::*;
pub use tree::{Entry, Tree};
