//! barista: a directory of TOML becomes a room of diskless machines.
