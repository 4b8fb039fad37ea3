//! Opens source files of the image store, and tells whether somebody still writes to one.
//!
//! **Invariant:** what is opened is a regular file that lies in the store, by the kernel's own account of what was opened; whoever
//! reads it reads this one file to its end, whatever happens to its name. Nothing here waits for another process.
#![expect(clippy::disallowed_methods, reason = "effect room: opens image sources and asks the kernel about them")]

use crate::names::Bytes;
use crate::observed::{FileStamp, Settled, Writers};
use jiff::Timestamp;
use nix::{
    fcntl::OFlag,
    libc,
    sys::statfs::{FsType, NFS_SUPER_MAGIC, fstatfs},
};
use std::{
    fs, io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Component, Path, PathBuf},
    time::Duration,
};

/// Where the kernel cannot tell who writes, a file that has not changed for so long counts as whole. A copy over a network pauses
/// for less.
const QUIET: Duration = Duration::from_secs(10);

/// File systems whose server answers for a lease, which then says nothing about other clients (`statfs(2)`: NFS, SMB, CIFS).
const REMOTE: [FsType; 3] = [NFS_SUPER_MAGIC, FsType(0xfe53_4d42), FsType(0xff53_4d42)];

/// `F_SETSIG` of `asm-generic/fcntl.h`, which the libc crate does not have for every C library.
const F_SETSIG: libc::c_int = 10;

/// A source file that is open for reading.
#[derive(Debug)]
pub(in crate::host) struct SourceFile {
    file: fs::File,
    /// How it was when it was opened.
    pub(in crate::host) stamp: FileStamp,
    /// What it takes of its file system.
    pub(in crate::host) allocated: Bytes,
    /// Who had it open for writing when it was opened. With [`Writers::None`] its lease is held as long as this lives: whoever opens
    /// it for writing meanwhile is held up by the kernel, for `fs.lease-break-time` at most.
    pub(in crate::host) writers: Writers,
}

impl SourceFile {
    /// Opens a file of the store by its path in the site.
    pub(in crate::host) fn open(store: &Path, path: &str) -> io::Result<Self> {
        let place = resolve_in_store(store, path)?;
        // Neither a FIFO nor a link put there since can hold us up or lead us elsewhere.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(&place)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("is not a regular file"));
        }
        if fs::read_link(proc_path("self", file.as_raw_fd()))? != place {
            return Err(io::Error::other("was exchanged while it was opened"));
        }
        let writers = take_lease(&file);
        // Once more: a writer may have ended between the two.
        let metadata = file.metadata()?;
        // stat(2): blocks are of 512 bytes whatever the file system's own.
        let allocated = Bytes(metadata.blocks() * 512);
        Ok(Self { stamp: stamp(&metadata), allocated, writers, file })
    }

    /// A path that leads to this very file for other processes of ours, as long as this lives.
    pub(in crate::host) fn path(&self) -> String {
        proc_path(&std::process::id().to_string(), self.file.as_raw_fd()).display().to_string()
    }

    pub(in crate::host) fn file(&self) -> &fs::File {
        &self.file
    }

    /// Whether it is now as it was when it was opened.
    pub(in crate::host) fn is_unchanged(&self) -> io::Result<bool> {
        Ok(stamp(&self.file.metadata()?) == self.stamp)
    }

    /// Whether nobody is still writing it, by one look.
    pub(in crate::host) fn settled(&self, now: Timestamp) -> Settled {
        let changed = self.stamp.changed();
        match self.writers {
            Writers::None => Settled::Yes,
            Writers::Some => Settled::BeingWritten,
            // A clock that was set back, or the server's, makes the age negative.
            Writers::Unknown if now.duration_since(changed).unsigned_abs() >= QUIET && changed <= now => Settled::Yes,
            Writers::Unknown => Settled::Changed,
        }
    }
}

fn proc_path(process: &str, descriptor: RawFd) -> PathBuf {
    PathBuf::from(format!("/proc/{process}/fd/{descriptor}"))
}

fn stamp(metadata: &fs::Metadata) -> FileStamp {
    FileStamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: Bytes(metadata.len()),
        modified: timestamp(metadata.mtime(), metadata.mtime_nsec()),
        status_changed: timestamp(metadata.ctime(), metadata.ctime_nsec()),
    }
}

fn timestamp(seconds: i64, nanoseconds: i64) -> Timestamp {
    let nanoseconds = i32::try_from(nanoseconds).unwrap_or(0);
    Timestamp::new(seconds, nanoseconds).unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// A file of a store by its path in the site; refuses what a symbolic link or `..` would lead out of the store, and every link that
/// somebody else than root made: it would have root read for him what he may not.
pub(in crate::host) fn resolve_in_store(store: &Path, path: &str) -> io::Result<PathBuf> {
    let store = resolve_trusted(&std::path::absolute(store)?, 0)?;
    let file = resolve_trusted(&store.join(path), 0)?;
    match file.starts_with(&store) || Path::new(path).is_absolute() {
        true => Ok(file),
        false => Err(io::Error::other(format!("leads out of {}", store.display()))),
    }
}

/// Links that lead to links, as the kernel bounds them too (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// A path without links, each of which root or this user made.
fn resolve_trusted(path: &Path, links: u32) -> io::Result<PathBuf> {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            resolved.pop();
            continue;
        }
        resolved.push(part);
        let metadata = fs::symlink_metadata(&resolved)?;
        if !metadata.is_symlink() {
            continue;
        }
        if metadata.uid() != 0 && metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::other(format!("{} is a link that user {} made", resolved.display(), metadata.uid())));
        }
        if links >= MOST_LINKS {
            return Err(io::Error::other(format!("{} leads through too many links", resolved.display())));
        }
        let target = fs::read_link(&resolved)?;
        resolved.pop();
        resolved = resolve_trusted(&resolved.join(target), links + 1)?;
    }
    Ok(resolved)
}

/// Takes a read lease, which the kernel gives only while nobody has the file open for writing, nor mapped so (fcntl(2), "Leases").
#[expect(unsafe_code, reason = "no crate of ours has F_SETLEASE; the descriptor is open and both arguments are numbers")]
fn take_lease(file: &fs::File) -> Writers {
    let is_remote = fstatfs(file).map_or(true, |of| REMOTE.contains(&of.filesystem_type()));
    if is_remote {
        return Writers::Unknown;
    }
    let descriptor = file.as_raw_fd();
    // Whoever opens it for writing makes the kernel signal us: by SIGURG, which does nothing, for SIGIO would end us.
    let signal = unsafe { libc::fcntl(descriptor, F_SETSIG, libc::SIGURG) };
    if signal != 0 {
        return Writers::Unknown;
    }
    match unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_RDLCK) } {
        0 => Writers::None,
        _ if io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN) => Writers::Some,
        // A file system without leases, or a file of somebody else where we are not root.
        _ => Writers::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn store() -> (tempfile::TempDir, PathBuf) {
        let store = tempfile::tempdir().expect("a directory");
        let file = store.path().join("a.raw");
        fs::write(&file, "a disk").expect("written");
        (store, file)
    }

    #[test]
    fn a_file_that_somebody_has_open_for_writing_is_not_settled() {
        let (store, place) = store();
        let now = Timestamp::now();
        let mut writer = fs::OpenOptions::new().append(true).open(&place).expect("opens");
        writer.write_all(b"more").expect("written");
        let seen = SourceFile::open(store.path(), "a.raw").expect("opens");
        assert_eq!(seen.settled(now), Settled::BeingWritten);
        drop((seen, writer));
        let seen = SourceFile::open(store.path(), "a.raw").expect("opens");
        assert_eq!((seen.writers, seen.settled(now)), (Writers::None, Settled::Yes));
        let unknown = SourceFile { writers: Writers::Unknown, ..seen };
        assert_eq!(unknown.settled(now), Settled::Changed, "it was just written");
        assert_eq!(unknown.settled(now + Duration::from_secs(60)), Settled::Yes);
        assert_eq!(unknown.settled(now - Duration::from_secs(3600)), Settled::Changed, "a clock that was set back");
    }

    #[test]
    fn while_a_file_is_read_nobody_opens_it_for_writing_at_once_and_we_live_on() {
        let (store, place) = store();
        let seen = SourceFile::open(store.path(), "a.raw").expect("opens");
        let mut at_once = fs::OpenOptions::new();
        let at_once = at_once.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
        assert_eq!(at_once.open(&place).expect_err("is refused").kind(), io::ErrorKind::WouldBlock);
        assert!(seen.is_unchanged().expect("reads"));
        drop(seen);
        assert!(at_once.open(&place).is_ok());
    }

    #[test]
    fn what_was_opened_is_read_whatever_happens_to_its_name() {
        let (store, place) = store();
        let seen = SourceFile::open(store.path(), "a.raw").expect("opens");
        fs::write(store.path().join("b.raw"), "another").expect("written");
        fs::rename(store.path().join("b.raw"), &place).expect("renamed");
        assert_eq!(fs::read_to_string(seen.path()).expect("reads"), "a disk");
        assert!(!seen.is_unchanged().expect("reads"), "its inode lost a name");
    }

    #[test]
    fn fifos_directories_and_what_leads_out_are_refused_without_waiting() {
        let (store, _) = store();
        nix::unistd::mkfifo(&store.path().join("fifo.raw"), nix::sys::stat::Mode::S_IRWXU).expect("made");
        fs::create_dir(store.path().join("directory.raw")).expect("made");
        std::os::unix::fs::symlink("/etc/hostname", store.path().join("out.raw")).expect("linked");
        std::os::unix::fs::symlink("a.raw", store.path().join("in.raw")).expect("linked");
        for (name, why) in
            [("fifo.raw", "regular"), ("directory.raw", "regular"), ("out.raw", "leads out"), ("../etc/passwd", "")]
        {
            let error = SourceFile::open(store.path(), name).expect_err(name).to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        assert!(SourceFile::open(store.path(), "in.raw").is_ok(), "a link within the store");
    }
}
