//! Whether LVM looks only at the disks that its devices file lists (lvmdevices(8)).
//!
//! **Invariant:** changes nothing; where LVM does not say, a file that is there counts as in use, for its hint does no harm.
#![expect(clippy::disallowed_methods, reason = "effect room: looks for LVM's devices file")]

use super::{Command, System};
use crate::observed::DevicesFile;
use std::{fs, path::Path, time::Duration};

const PATH: &str = "/etc/lvm/devices/system.devices";

/// It reads a file.
const DEADLINE: Duration = Duration::from_secs(20);

/// Looks whether a disk may be hidden from LVM because the devices file does not list it.
pub(super) fn devices_file(system: &System) -> DevicesFile {
    look(system, Path::new(PATH))
}

fn look(system: &System, file: &Path) -> DevicesFile {
    if fs::symlink_metadata(file).is_err() {
        return DevicesFile::None;
    }
    let command = Command::new(["lvmconfig", "--typeconfig", "full", "devices/use_devicesfile"], DEADLINE);
    match system.commands.succeed(&command) {
        Ok(output) if output.stdout.trim() == "use_devicesfile=0" => DevicesFile::None,
        Ok(_) | Err(_) => DevicesFile::InUse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Output, fake::FakeHost};

    #[test]
    fn a_devices_file_counts_unless_lvm_passes_it_over() {
        let host = FakeHost::new();
        let root = tempfile::tempdir().expect("a directory");
        let file = root.path().join("system.devices");
        assert_eq!(look(&host.system(), &file), DevicesFile::None);
        fs::write(&file, "VERSION=1.1.1\n").expect("written");
        assert_eq!(look(&host.system(), &file), DevicesFile::InUse, "lvmconfig is not there to ask");
        for (says, expected) in [("use_devicesfile=0\n", DevicesFile::None), ("use_devicesfile=1\n", DevicesFile::InUse)] {
            host.answer("lvmconfig", Output { status: Some(0), stdout: says.into(), stderr: String::new() });
            assert_eq!(look(&host.system(), &file), expected);
        }
    }
}
