//! The one integration binary: whatever needs the house as a whole, or files beside it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests make files, start programs and may panic")]

mod cafe;
mod cli;
mod contract;
mod contract_lvm;
mod contract_sessions;
mod converge;
mod deploy;
mod git;
mod host_apply;
mod host_ground;
mod host_observe;
mod layering;
mod plan_converge;
mod push;
mod room;
mod schemas;
mod serve;
mod serve_fuzz;
mod serve_http;
mod serve_http_limits;
mod serve_netns;
mod serve_process;
mod serve_tftp;
mod serve_tftp_peers;
mod site;
