//! The text of a commit becomes a [`Site`], or a list of everything that is wrong with it.
//!
//! **Invariant:** pure; reads no file, follows no link, and reports every problem it can see at once.

mod advice;
mod edit;
mod file_text;
mod files;
mod host_path;
mod images;
mod keys;
mod load;
mod machines;
mod model;
mod moves;
mod networks;
mod options;
mod raw;
mod read;
mod report;
mod schema;
mod settings;
mod spelling;
mod strangers;
mod syntax;
mod table;
mod tree;
mod words;

pub use edit::{
    Added, Addressing, Edit, EditError, FormatError, NamePattern, Naming, NewMachine, Places, TextPlace, add_machines, format,
    new_row, places,
};
pub use host_path::{HostPath, HostPathKey};
pub use load::{Checked, load};
pub use model::*;
pub use schema::schemas;
pub use tree::{Entry, Tree};
