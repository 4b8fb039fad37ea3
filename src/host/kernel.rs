//! The real target subsystem and the real kernel's facts.
//!
//! **Invariant:** one value is one write(2) without a newline: LIO takes each write as a whole value, and a trailing newline
//! becomes part of some of them.
#![expect(clippy::disallowed_methods, reason = "effect room: configfs, /proc and the clock")]

use super::lock::{Lock, lock_out_other_tools};
use super::ports::{ConfigFs, Kernel, Kind};
use jiff::Timestamp;
use std::{
    fs, io,
    io::Write,
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

    fn read(&self, path: &str) -> io::Result<String> {
        let mut text = fs::read_to_string(self.root.join(path))?;
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

    /// `/proc/uptime`; zero when it cannot be read, which makes every seat count as in use.
    fn uptime(&self) -> Duration {
        let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let seconds = text.split('.').next().and_then(|seconds| seconds.parse().ok());
        Duration::from_secs(seconds.unwrap_or(0))
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

    fn is_root(&self) -> bool {
        nix::unistd::Uid::effective().is_root()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
