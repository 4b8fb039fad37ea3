//! The operator's book: what README has no room for, a page for each question.
//!
//! **Invariant:** words only; what a page claims is shown by a test, a benchmark or the lab, or it says that it is not.

#[doc = include_str!("commands.md")]
pub mod commands {}

#[doc = include_str!("dependencies.md")]
pub mod dependencies {}

#[doc = include_str!("figures.md")]
pub mod figures {}

#[doc = include_str!("firmware.md")]
pub mod firmware {}

#[doc = include_str!("not-there-yet.md")]
pub mod not_there_yet {}

#[doc = include_str!("promises.md")]
pub mod promises {}

#[doc = include_str!("pushers.md")]
pub mod pushers {}

#[doc = include_str!("seats.md")]
pub mod seats {}

#[doc = include_str!("site.md")]
pub mod site {}

#[doc = include_str!("trouble.md")]
pub mod trouble {}
