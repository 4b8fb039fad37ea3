//! HTTP: scripts from the boot table, loaders from memory, assets from their directory.
//!
//! **Invariant:** what a path means is decided in [`route`] from the path alone, what of a file is sent in [`select`], and who
//! makes room for whom in [`connections`]; [`serve`] only owns the connections, [`assets`] the files and [`answer`] the bytes. What of a
//! machine's script is the agent's to say is asked in `machine`.

pub mod answer;
pub mod assets;
pub mod body;
pub mod connections;
mod machine;
pub mod route;
pub mod script;
pub mod select;
pub mod sendfile;
pub mod serve;
pub mod write_timeout;
