//! What apply runs: operations as data.
//!
//! **Invariant:** an op says everything about one effect; nothing is decided while it is executed.

use super::ChangeId;
use crate::boot::table::{BootMachine, BootTable};
use crate::names::{Bytes, LvName, MachineName, Percent, VgName};
use serde::{Deserialize, Serialize};

/// One effect on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// A program with its arguments.
    Run(Vec<String>),
    /// One change in configfs; paths are below `/sys/kernel/config/target`.
    ConfigFs(ConfigFsOp),
    /// Reads a source file whole and compares its SHA-256.
    Verify {
        /// The file: absolute, or within the image store.
        path: String,
        /// What its SHA-256 must be, lower-case hex.
        sha256: String,
    },
    /// Fills a volume from a source file and flushes it.
    Fill {
        /// The file: absolute, or within the image store.
        path: String,
        /// How to read it: qemu-img's name of the format.
        format: String,
        /// The volume's group.
        vg: VgName,
        /// The volume.
        lv: LvName,
        /// The volume's size: the disk in the file must fit.
        size: Bytes,
        /// The thin pool it fills; watched meanwhile.
        pool: LvName,
        /// Free space of the pool at which filling stops: a full pool fails every seat's writes.
        reserve: Percent,
    },
    /// Stops the change when the seat has come into use since the plan was made.
    RequireIdle {
        /// Whose seat.
        machine: MachineName,
        /// The target.
        target: String,
        /// The initiator that may be logged in.
        initiator: String,
        /// SCSI commands its mapped LUNs had served when the plan was made.
        commands: u64,
    },
}

/// One change in configfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigFsOp {
    /// Makes a directory; one that is already there is fine.
    Mkdir(String),
    /// Removes a directory; one that is not there is fine.
    Rmdir(String),
    /// Writes a value into an attribute, without a newline.
    Write {
        /// The attribute.
        path: String,
        /// The value.
        value: String,
    },
    /// Writes a machine's CHAP name or secret, which apply reads from the site's file: a plan holds neither.
    WriteSecret {
        /// The attribute.
        path: String,
        /// Which of the two.
        part: SecretPart,
        /// Whose.
        machine: MachineName,
        /// The file.
        file: String,
    },
    /// Makes a link; the same link already there is fine.
    Symlink {
        /// What it leads to, below `/sys/kernel/config/target`.
        target: String,
        /// The link.
        link: String,
    },
    /// Removes a link; one that is not there is fine.
    Unlink(String),
}

/// Half of a machine's CHAP credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretPart {
    /// The name.
    User,
    /// The secret.
    Secret,
}

/// A piece of the plan that apply carries out at once, in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Ops of one change, in order; the first that fails ends the change.
    Ops {
        /// Whose.
        change: ChangeId,
        /// What.
        ops: Vec<Op>,
    },
    /// LVM commands of several changes through one `lvm` process, each the words of one command line.
    LvmBatch(Vec<(ChangeId, Vec<String>)>),
    /// One LVM command with many volumes.
    LvmMany {
        /// The command: `lvremove -f -y`.
        words: Vec<String>,
        /// The volumes, `vg/lv`, each with its change.
        volumes: Vec<(ChangeId, String)>,
    },
    /// Writes the boot table for `serve`, whole and at once.
    Publish {
        /// The change that stands for the table as a whole, when there is one.
        change: Option<ChangeId>,
        /// The table, every change of it done.
        table: Box<BootTable>,
        /// What stands in it for a machine whose own change did not come to be: what was published before, or nothing.
        otherwise: Vec<(ChangeId, MachineName, Option<BootMachine>)>,
    },
}
