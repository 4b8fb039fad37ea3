//! Commands, as people and programs meet them.

pub mod commands;
pub mod doctor;
pub mod export;
pub mod first_hour;
pub mod machines;
pub mod newcomer;
pub mod newcomer_places;
mod newcomer_words;
pub mod operator;
pub mod readme;
pub mod run_command;
