//! The real target subsystem and the real kernel's facts.
//!
//! **Invariant:** one value is one write(2) without a newline: LIO takes each write as a whole value, and a trailing newline
//! becomes part of some of them.
#![expect(clippy::disallowed_methods, reason = "effect room: configfs, /proc and the clock")]

use super::lock::{Lock, lock_out_other_tools};
use super::ports::{ConfigFs, Kernel, Kind};
use crate::observed::{DiskIo, Seen, parse_counter, parse_disk_writes};
use jiff::Timestamp;
use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
    time::Duration,
};

/// Where the target subsystem shows itself.
pub const TARGET_ROOT: &str = "/sys/kernel/config/target";

/// The target subsystem below a directory, `/sys/kernel/config/target` but for tests.
#[derive(Debug, Clone)]
pub struct KernelConfigFs {
    root: PathBuf,
}

impl KernelConfigFs {
    /// The target subsystem below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

impl Default for KernelConfigFs {
    fn default() -> Self {
        Self::new(TARGET_ROOT)
    }
}

impl ConfigFs for KernelConfigFs {
    fn list(&self, path: &str) -> io::Result<Vec<(String, Kind)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(path))? {
            let entry = entry?;
            let kind = match entry.file_type()? {
                kind if kind.is_symlink() => Kind::Link,
                kind if kind.is_dir() => Kind::Directory,
                _ => Kind::Attribute,
            };
            names.push((entry.file_name().to_string_lossy().into_owned(), kind));
        }
        names.sort();
        Ok(names)
    }

    /// An attribute is a page at most, and the kernel gives all of it to one read (fs/configfs/file.c): three system calls for each,
    /// which is what a look at hundreds of seats consists of.
    fn read(&self, path: &str) -> io::Result<String> {
        let mut file = fs::File::open(self.root.join(path))?;
        let mut page = [0; 4096];
        let count = file.read(&mut page)?;
        let mut text = page[..count].to_vec();
        if count == page.len() {
            file.read_to_end(&mut text)?;
        }
        let mut text = String::from_utf8(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        if text.ends_with('\n') {
            text.pop();
        }
        Ok(text)
    }

    /// configfs makes relative links (`../../../../target/core/…`), counted from the link's own directory.
    fn read_link(&self, path: &str) -> io::Result<String> {
        let link = self.root.join(path);
        let told = fs::read_link(&link)?;
        let mut whole = PathBuf::new();
        for component in link.parent().unwrap_or(&self.root).join(told).components() {
            match component {
                Component::ParentDir => drop(whole.pop()),
                Component::CurDir => {}
                component => whole.push(component),
            }
        }
        let below = whole.strip_prefix(&self.root).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(below.to_string_lossy().into_owned())
    }

    fn mkdir(&self, path: &str) -> io::Result<()> {
        fs::create_dir(self.root.join(path))
    }

    fn rmdir(&self, path: &str) -> io::Result<()> {
        fs::remove_dir(self.root.join(path))
    }

    fn write(&self, path: &str, value: &str) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).open(self.root.join(path))?;
        match file.write(value.as_bytes())? {
            written if written == value.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn symlink(&self, target: &str, link: &str) -> io::Result<()> {
        symlink(self.root.join(target), self.root.join(link))
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(path))
    }

    fn lock_out_other_tools(&self) -> Vec<Lock> {
        lock_out_other_tools()
    }
}

/// The kernel this process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunningKernel;

impl Kernel for RunningKernel {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn has_carrier(&self, interface: &str) -> bool {
        fs::read_to_string(format!("/sys/class/net/{interface}/carrier")).is_ok_and(|text| text.trim() == "1")
    }

    fn boottime(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }

    /// `/sys/module` has what is loaded, and of what is built in whatever has parameters or a version.
    fn has_module(&self, name: &str) -> bool {
        Path::new("/sys/module").join(name.replace('-', "_")).is_dir()
    }

    fn boot_id(&self) -> String {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
    }

    fn has_configfs(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        mounts.lines().any(|line| {
            let mut words = line.split(' ').skip(1);
            words.next().map(Path::new) == Path::new(TARGET_ROOT).parent() && words.next() == Some("configfs")
        })
    }

    fn disk_io(&self, device: (u32, u32)) -> Seen<DiskIo> {
        let disk = PathBuf::from(format!("/sys/dev/block/{}:{}", device.0, device.1));
        read_disk_io(&disk, &release())
    }

    fn is_root(&self) -> bool {
        nix::unistd::Uid::effective().is_root()
    }
}

/// The kernel's release, `6.1.0-48-amd64`; empty where it does not say.
fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()
}

/// Whether a kernel's device mapper counts whatever the disk's switch says. Before Linux 6.5 it had no such switch: `queue/iostats` of
/// each of its disks is 0 from the beginning, and every command is counted all the same.
fn counts_always(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).is_some_and(|version| version < (6, 5))
}

/// Reads what sysfs says of a disk. Where counting is switched off its numbers stand still whatever is written.
fn read_disk_io(disk: &Path, release: &str) -> Seen<DiskIo> {
    let text = |name: &str| {
        fs::read_to_string(disk.join(name)).map_err(|error| (error.kind(), format!("{}: {error}", disk.join(name).display())))
    };
    let read = || -> Result<DiskIo, (io::ErrorKind, String)> {
        let odd = |name: &str, error: &dyn std::fmt::Display| {
            (io::ErrorKind::InvalidData, format!("{}: {error}", disk.join(name).display()))
        };
        let before = text("diskseq")?;
        let diskseq = parse_counter(&before).map_err(|error| odd("diskseq", &error))?;
        match text("queue/iostats") {
            Ok(counts) if counts.trim_end() == "0" && !(disk.join("dm").exists() && counts_always(release)) => {
                return Err(odd("queue/iostats", &"the disk's statistics are switched off"));
            }
            Ok(_) | Err((io::ErrorKind::NotFound, _)) => {}
            Err(error) => return Err(error),
        }
        let writes = parse_disk_writes(&text("stat")?).map_err(|error| odd("stat", &error))?;
        // The number may have passed to another disk between the two.
        match text("diskseq")? == before {
            true => Ok(DiskIo { diskseq, writes }),
            false => Err(odd("diskseq", &"changed while it was read")),
        }
    };
    match read() {
        Ok(io) => Seen::Present(io),
        Err((io::ErrorKind::NotFound, _)) if !disk.exists() => Seen::Absent,
        Err((_, reason)) => Seen::Unreadable(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "6.12.9-amd64";

    #[test]
    fn a_disk_of_an_old_device_mapper_is_counted_though_its_switch_is_off() {
        let disk = tempfile::tempdir().expect("a directory");
        let path = disk.path();
        fs::create_dir(path.join("queue")).expect("made");
        for (name, text) in [("diskseq", "41\n"), ("stat", "1 0 8 0 2 0 16 0 0 0 0 1 0 4 0 9 0\n"), ("queue/iostats", "0\n")] {
            fs::write(path.join(name), text).expect("written");
        }
        let is_read = |release: &str| matches!(read_disk_io(path, release), Seen::Present(_));
        assert!(!is_read("6.1.0-48-amd64"), "no device mapper's");
        fs::create_dir(path.join("dm")).expect("made");
        assert!(is_read("6.1.0-48-amd64") && is_read("5.15.0"));
        assert!(!is_read("6.5.0") && !is_read("6.12") && !is_read(""), "there the switch is a switch");
    }

    #[test]
    fn a_disk_is_told_by_its_number_and_counted_by_its_sectors() {
        let disk = tempfile::tempdir().expect("a directory");
        let path = disk.path();
        assert_eq!(read_disk_io(&path.join("none"), NEW), Seen::Absent);
        assert!(matches!(read_disk_io(path, NEW), Seen::Unreadable(_)), "a kernel without diskseq");
        fs::write(path.join("diskseq"), "41\n").expect("written");
        fs::write(path.join("stat"), "1 0 8 0 2 0 16 0 0 0 0 1 0 4 0 9 0\n").expect("written");
        assert_eq!(read_disk_io(path, NEW), Seen::Present(DiskIo { diskseq: 41, writes: 20 }));
        fs::create_dir(path.join("queue")).expect("made");
        fs::write(path.join("queue/iostats"), "0\n").expect("written");
        assert!(matches!(read_disk_io(path, NEW), Seen::Unreadable(reason) if reason.contains("switched off")));
    }

    #[test]
    fn a_tree_of_plain_files_reads_as_the_kernels_does() {
        let root = tempfile::tempdir().expect("a directory");
        let tree = KernelConfigFs::new(root.path());
        tree.mkdir("core").expect("made");
        tree.mkdir("core/iblock_7").expect("made");
        fs::write(root.path().join("core/iblock_7/info"), "a\nb\n").expect("written");
        fs::create_dir_all(root.path().join("iscsi/x/lun_0")).expect("made");
        symlink("../../../core/iblock_7", root.path().join("iscsi/x/lun_0/link")).expect("linked");
        assert_eq!(tree.read("core/iblock_7/info").expect("reads"), "a\nb");
        assert_eq!(tree.read_link("iscsi/x/lun_0/link").expect("reads"), "core/iblock_7");
        assert_eq!(tree.list("core/iblock_7").expect("lists"), [("info".into(), Kind::Attribute)]);
        assert_eq!(tree.list("iscsi/x/lun_0").expect("lists"), [("link".into(), Kind::Link)]);
        assert_eq!(tree.list("core").expect("lists"), [("iblock_7".into(), Kind::Directory)]);
        assert_eq!(tree.rmdir("core/iblock_8").expect_err("is not there").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_link_out_of_the_tree_is_refused() {
        let root = tempfile::tempdir().expect("a directory");
        symlink("/etc", root.path().join("link")).expect("linked");
        let error = KernelConfigFs::new(root.path()).read_link("link").expect_err("leads out");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
