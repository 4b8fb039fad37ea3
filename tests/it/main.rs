//! The one integration binary.

mod serve;
mod serve_fuzz;
mod serve_http;
mod serve_netns;
mod serve_tftp;
