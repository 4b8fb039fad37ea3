//! The one integration binary: whatever needs the house as a whole, or files beside it.

mod converge;
mod room;
mod schemas;
mod serve;
mod serve_http;
mod serve_netns;
mod serve_tftp;
mod site;
