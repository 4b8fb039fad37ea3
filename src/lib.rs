//! barista: a directory of TOML in a git repository becomes a room of diskless machines.
//!
//! # The rooms
//!
//! ```text
//! commit ──deploy──► Tree ──site──► Site ──desired──► Desired ──boot──► BootTable ─┐
//!                                                        │                          │
//! host ──host::observe──► Observation (observed) ────────┴──► plan ◄────────────────┘
//!                                                               │
//!                                     Plan: changes, gates, steps
//!                                                               │
//!                                     host::apply ◄─────────────┘──► LVM, LIO, <state>/boot/table.json ──► serve
//! ```
//!
//! | room | is | may use |
//! |---|---|---|
//! | [`names`] | newtypes with one parser each | nothing |
//! | [`diagnostic`] | pure: what is wrong, where, and how to mend it; its printed form | nothing |
//! | [`site`] | pure: text of a commit to [`site::Site`], or every finding at once | names, diagnostic |
//! | [`desired`] | pure: every object that should exist, with its final name | site |
//! | [`observed`] | pure: raw tool output and configfs listings to facts | names |
//! | [`boot`] | pure: scripts from templates, the boot table, loaders, what serving asks the agent | desired |
//! | [`transcript`] | pure: what a machine did while booting, as events | boot |
//! | [`plan`] | pure: desired against observed; gates, order, operations, text | boot, observed |
//! | [`host`] | effects: a store (LVM) and an exporter (LIO) behind traits, observing, applying, the records of what was offered and ordered; fakes with the kernel's rules | plan |
//! | [`serve`] | effects, no root: DHCP, TFTP and HTTP from the published table, and disks as the agent assigns them | boot, transcript |
//! | [`deploy`] | effects: trees from commits and directories, the hooks; pure: which commit | site, `host::untrusted` |
//! | [`agent`] | pure: the state machine; effects: its loop, what it knows of who is at work, the disks it gives to boots, the status document | host, deploy, serve |
//! | [`diagnose`] | what is wrong, said to people: a machine's boots explained, the doctor of the server | host, serve |
//! | [`exchange`] | pure: the configuration of other boot servers, written and read | boot |
//! | [`cli`] | one file per subcommand, errors with hints, output streams | everything |
//!
//! [`book`] is the operator's, and no room. The edges are checked by a test that prints the offending line.
//!
//! # Another backing, another exporter
//!
//! [`names::DiskId`] says what a disk is for, [`observed::Stock`] what a store holds, [`plan::DiskOp`] and [`plan::ExportOp`] what is
//! to be done, with the handle that each object is expected to have. The planner knows no LVM and no LIO beyond these. A store that is
//! added is: one file of facts (`observed`, a function that gives a `Stock`), one adapter (`host::store`, the trait `Store`), one
//! variant of [`desired::Backing`], and cases in `tests/it` and `tests/cases/plan`. An exporter likewise: `host::export`, the trait
//! `Exporter`, a variant of [`desired::Export`].
//!
//! # What is deliberately absent
//!
//! - **A state file.** What exists is read from LVM and configfs each time; ownership is a mark on the object itself. The record of
//!   which disk was offered to which boot can only make a disk less trusted; without it no disk counts as clean. Which commit
//!   was applied last, and which was begun last, are kept with their text for the day the repository is damaged, and say nothing of
//!   what exists.
//! - **A write into a directory that others may write.** The repository is only read; what others wrote is opened by
//!   [`host::untrusted`] alone.
//! - **A decision outside [`plan`].** Apply interprets steps; verification is the planner run again.
//! - **A way to change what is not ours.** Nothing without our mark reaches a step.
//! - **A clock, randomness, a file or a socket in a pure room.** `clippy.toml` fences them; each effect room opens the fence once.
//! - **A packet parser that runs as root.** Serving reads the published table, and asks the agent for disks over a socket in a
//!   protocol of its own (`boot::assignment`).

pub mod agent;
pub mod book;
pub mod boot;
pub mod cli;
pub mod deploy;
pub mod desired;
pub mod diagnose;
pub mod diagnostic;
pub mod exchange;
pub mod host;
pub mod names;
pub mod observed;
pub mod plan;
pub mod serve;
pub mod site;
pub mod transcript;
