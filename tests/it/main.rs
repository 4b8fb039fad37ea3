//! The one integration binary: whatever needs the house as a whole, or files beside it.

mod schemas;
mod site;
