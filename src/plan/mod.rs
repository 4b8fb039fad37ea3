//! Desired against observed: the one place where anything is decided.
//!
//! Intents for each seat and version, gates to a fixpoint, operations from final gates only, order, text. [`assign`] decides which
//! side a booting machine gets, by the same view of its sides. **Invariant:** pure; the same site and the same observation give the
//! same plan to the byte.

pub mod assign;
mod boot;
mod builder;
mod compute;
mod concern;
mod context;
mod emptied;
mod exports;
mod gate;
mod glob;
mod hold;
mod model;
mod op;
mod order;
mod pool;
mod render;
mod seats;
mod secrets;
mod target;
mod versions;
mod view;
mod words;

pub use compute::{Prepared, compute, prepare, stock_of};
pub use concern::{concerning, keeps_waiting, untouched};
pub use emptied::{KnownMachines, has_no_machine, refuse_emptied};
pub use exports::{INQUIRY, TPG, backstore_attributes, tpg_attributes};
pub use glob::Targets;
pub use hold::*;
pub use model::*;
pub use op::{
    Discards, DiskOp, ExportOp, GroupSeen, LunPlan, Op, Pool, PortalGroup, ShownTogether, Standing, Step, TargetPlan, TargetSeen,
};
pub use pool::is_half_made_pool;
pub use render::{Detail, render, render_text};
pub use secrets::{ComesTo, secrets_trouble, what_waits};
pub use versions::source_mark;
pub use words::{hold_text, reason_text, subject_text};
