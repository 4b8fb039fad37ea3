//! Fills volumes from source files, and says what exactly they hold.
//!
//! **Invariant:** the checksum that is returned is of the bytes that were written: one open file, its name never looked at again,
//! unchanged from first to last. A file is read by the format its name says and never follows a backing file, a data file or a link
//! out of the store; a volume that something holds open is never filled.

mod disks;
mod pieces;
mod source;

pub use disks::BlockDevices;
pub(super) use source::{SourceFile, resolve_in_store};

use pieces::{data_of, hash_file};

use super::{Command, CommandError, FillSource, Progress, System};
use crate::names::{Bytes, LvName, Percent, VgName};
use crate::observed::{
    DiskFileError, Hundredths, LV_FIELDS, ReportError, Writers, lvs, parse_data_percent, parse_disk_size, parse_lvs,
};
use crate::site::SourceFormat;
use std::{io, ops::ControlFlow, path::Path, time::Duration};

/// qemu-img reads a few kilobytes; the store may be a sleeping disk or a network filesystem.
const INFO_DEADLINE: Duration = Duration::from_secs(60);
/// A terabyte from a slow disk.
const FILL_DEADLINE: Duration = Duration::from_secs(24 * 3600);
/// Discarding and flushing a whole volume.
const DEVICE_DEADLINE: Duration = Duration::from_secs(600);

/// How much is written between two looks at the pool; qemu-img tells of its progress at every per cent and is looked at then.
const POOL_LOOK: u64 = 256 << 20;

/// What is filled from what.
#[derive(Debug, Clone, Copy)]
pub struct FillRequest<'a> {
    /// The file: absolute, or within the image store.
    pub source: &'a str,
    /// How to read it.
    pub format: SourceFormat,
    /// The volume's group.
    pub vg: &'a VgName,
    /// The volume.
    pub lv: &'a LvName,
    /// Its device.
    pub device: &'a str,
    /// Its size: the disk in the file must fit.
    pub size: Bytes,
    /// What the file's SHA-256 must be, in hex, where the site says it.
    pub sha256: Option<&'a str>,
    /// The thin pool it fills, watched meanwhile.
    pub pool: &'a LvName,
    /// Free space of the pool at which filling stops: a full pool makes every write of every seat wait a minute and fail (dm-thin
    /// `no_space_timeout`).
    pub reserve: Percent,
}

/// What a volume was filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// The SHA-256 of the source file, lower-case hex.
    pub sha256: String,
    /// The size of the source file.
    pub bytes: u64,
}

/// Why a volume was not filled. Whatever is in it by then is worth nothing.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// The file cannot be read.
    #[error("source {path} cannot be read")]
    Source {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody has it open for writing.
    #[error("source {path} is still being written: some process has it open for writing")]
    BeingWritten {
        /// Which.
        path: String,
    },
    /// It is another file now, or has been written to.
    #[error("source {path} changed while it was read")]
    Changed {
        /// Which.
        path: String,
    },
    /// It is not what its name says, or needs other files.
    #[error("source {path} cannot be used")]
    Unusable {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: DiskFileError,
    },
    /// Its own tables contradict it: cut off, or overwritten.
    #[error("source {path} is damaged or cut off: {report}")]
    Damaged {
        /// Which.
        path: String,
        /// What qemu-img says.
        report: String,
    },
    /// It is not the file that the site means.
    #[error("source {path} has the SHA-256 {is} and the site says {should}")]
    Checksum {
        /// Which.
        path: String,
        /// What it is.
        is: String,
        /// What it should be.
        should: String,
    },
    /// Its disk is larger than the volume.
    #[error("source {path}: its disk of {disk} does not fit into {vg}/{lv} of {size}")]
    TooLarge {
        /// Which.
        path: String,
        /// The disk in it.
        disk: Bytes,
        /// The volume's group.
        vg: VgName,
        /// The volume.
        lv: LvName,
        /// The volume's size.
        size: Bytes,
    },
    /// The volume is in no state to be filled.
    #[error("{vg}/{lv} {state} and is not filled")]
    Volume {
        /// Its group.
        vg: VgName,
        /// The volume.
        lv: LvName,
        /// What is the matter.
        state: VolumeState,
    },
    /// The pool came to its reserve.
    #[error("thin pool {vg}/{pool} is {}.{:02} % full and the site reserves {reserve}", data.0 / 100, data.0 % 100)]
    PoolFull {
        /// Its group.
        vg: VgName,
        /// The pool.
        pool: LvName,
        /// How full it is.
        data: Hundredths,
        /// What should be free.
        reserve: Percent,
    },
    /// The disk took no more.
    #[error("cannot write to {device}")]
    Write {
        /// Which.
        device: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// LVM's report does not read.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// Why a volume cannot be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeState {
    /// Something holds it open.
    Open,
    /// It can only be read.
    ReadOnly,
    /// There is none.
    Absent,
    /// It holds something that does not go away.
    Dirty,
}

impl std::fmt::Display for VolumeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "is held open by something",
            Self::ReadOnly => "is read-only",
            Self::Absent => "is not there",
            Self::Dirty => "holds what an earlier attempt left, which neither discarding nor zeroing takes away,",
        })
    }
}

/// The size of the disk in a file; refuses a file that leads to others.
pub(super) fn read_disk_size(system: &System, file: &SourceFile, format: SourceFormat) -> Result<Bytes, String> {
    let command =
        Command::new(["qemu-img", "info", "--output=json", "-f", &format.to_string(), "--", &file.path()], INFO_DEADLINE);
    let output = system.commands.succeed(&command).map_err(|error| match error {
        CommandError::Missing { .. } => format!("{error}; install the package qemu-utils"),
        error => error.to_string().replace(&file.path(), "the file"),
    })?;
    parse_disk_size(&output.stdout, &format.to_string()).map_err(|error| error.to_string())
}

/// An error of a program that speaks of a file by the name it has in the site.
fn named(error: CommandError, file: &SourceFile, path: &str) -> CommandError {
    let name = |text: String| text.replace(&file.path(), path);
    match error {
        CommandError::Failed { argv, status, stderr } => CommandError::Failed { argv: name(argv), status, stderr: name(stderr) },
        CommandError::Deadline { argv, seconds } => CommandError::Deadline { argv: name(argv), seconds },
        CommandError::Stopped { argv, reason } => CommandError::Stopped { argv: name(argv), reason },
        error @ (CommandError::Missing { .. } | CommandError::Io { .. }) => error,
    }
}

/// Fills a blank volume from a file, flushes it, and says what the file was. Progress counts the file's bytes.
pub fn fill(system: &System, store: &Path, request: &FillRequest<'_>, progress: &mut dyn Progress) -> Result<Filled, FillError> {
    let path = request.source;
    let unreadable = |source| FillError::Source { path: path.to_owned(), source };
    let file = SourceFile::open(store, path).map_err(unreadable)?;
    if file.writers == Writers::Some {
        return Err(FillError::BeingWritten { path: path.to_owned() });
    }
    let filling = Filling { system, request, file: &file };
    filling.check_size()?;
    filling.check_file()?;
    filling.check_volume()?;
    filling.make_blank()?;
    let sha256 = match request.format {
        SourceFormat::Raw => filling.copy(progress)?,
        SourceFormat::Qcow2 | SourceFormat::Vhdx => {
            // First what it is, then the long work; between the two it stays what it is.
            let sha256 = filling.hash(progress)?;
            filling.check_sum(&sha256)?;
            filling.convert(progress)?;
            sha256
        }
    };
    if !file.is_unchanged().map_err(unreadable)? {
        return Err(FillError::Changed { path: path.to_owned() });
    }
    filling.check_sum(&sha256)?;
    // LIO reads the device and not the host's page cache.
    system.commands.succeed(&Command::new(["blockdev", "--flushbufs", request.device], DEVICE_DEADLINE))?;
    Ok(Filled { sha256, bytes: file.stamp.size.0 })
}

struct Filling<'a> {
    system: &'a System,
    request: &'a FillRequest<'a>,
    file: &'a SourceFile,
}

impl Filling<'_> {
    fn check_size(&self) -> Result<(), FillError> {
        let FillRequest { source: path, format, vg, lv, size, .. } = self.request;
        let format = &*format.to_string();
        let info = ["qemu-img", "info", "--output=json", "-f", format, "--", &self.file.path()];
        let command = Command::new(info, INFO_DEADLINE);
        let output = self.system.commands.succeed(&command).map_err(|error| named(error, self.file, path))?;
        let disk =
            parse_disk_size(&output.stdout, format).map_err(|source| FillError::Unusable { path: (*path).to_owned(), source })?;
        match disk > *size {
            true => {
                let (vg, lv) = ((*vg).clone(), (*lv).clone());
                Err(FillError::TooLarge { path: (*path).to_owned(), disk, vg, lv, size: *size })
            }
            false => Ok(()),
        }
    }

    /// Whether a file with tables of its own is whole; a raw file has nothing that could tell.
    fn check_file(&self) -> Result<(), FillError> {
        let format = match self.request.format {
            SourceFormat::Raw => return Ok(()),
            format @ (SourceFormat::Qcow2 | SourceFormat::Vhdx) => format.to_string(),
        };
        let command = Command::new(["qemu-img", "check", "-f", &format, "--", &self.file.path()], FILL_DEADLINE);
        let output = self.system.commands.run(&command)?;
        match output.status {
            // 3: clusters that belong to nothing, which harm nobody (qemu-img(1), "check").
            Some(0 | 3) => Ok(()),
            _ => {
                let report = match named(output.failure(&command), self.file, self.request.source) {
                    CommandError::Failed { stderr, .. } if !stderr.is_empty() => stderr,
                    error => error.to_string(),
                };
                Err(FillError::Damaged { path: self.request.source.to_owned(), report })
            }
        }
    }

    fn check_volume(&self) -> Result<(), FillError> {
        let lv = self.request.lv;
        let lvs = match self.report(lv, LV_FIELDS) {
            // LVM ends with 5 where there is none, and for other reasons too.
            Err(FillError::Command(CommandError::Failed { stderr, .. })) if stderr.contains("Failed to find logical volume") => {
                Default::default()
            }
            report => parse_lvs(&report?)?,
        };
        let state = match lvs.get(lv.as_str()) {
            Some(lv) if lv.open => VolumeState::Open,
            Some(lv) if lv.read_only => VolumeState::ReadOnly,
            Some(_) => return Ok(()),
            None => VolumeState::Absent,
        };
        Err(self.volume(state))
    }

    fn volume(&self, state: VolumeState) -> FillError {
        FillError::Volume { vg: self.request.vg.clone(), lv: self.request.lv.clone(), state }
    }

    fn report(&self, of: &LvName, fields: &str) -> Result<String, FillError> {
        let volume = format!("{}/{of}", self.request.vg);
        Ok(self.system.commands.succeed(&Command::new(lvs(fields, &volume), DEVICE_DEADLINE))?.stdout)
    }

    /// Makes every byte of the volume read as zero, so that holes of the source can be left out and the volume stays as small as what
    /// the image holds. What an interrupted attempt left is discarded; where that leaves a chunk, zeros are written over everything.
    fn make_blank(&self) -> Result<(), FillError> {
        if self.is_blank()? {
            return Ok(());
        }
        let device = self.request.device;
        let discarded = self.system.commands.succeed(&Command::new(["blkdiscard", "-f", device], DEVICE_DEADLINE));
        tracing::debug!(target: "barista::host", device, ok = discarded.is_ok(), "discarded what an earlier attempt left");
        if discarded.is_ok() && self.is_blank()? {
            return Ok(());
        }
        self.look_at_pool()?;
        self.system.commands.succeed(&Command::new(["blkdiscard", "-f", "-z", device], FILL_DEADLINE)).map(drop).map_err(
            |error| {
                tracing::warn!(target: "barista::host", device, %error, "the volume cannot be made blank");
                self.volume(VolumeState::Dirty)
            },
        )
    }

    /// Whether no chunk of the volume has been written.
    fn is_blank(&self) -> Result<bool, FillError> {
        Ok(parse_data_percent(&self.report(self.request.lv, "lv_name,data_percent")?)? == Some(Hundredths(0)))
    }

    /// An error when the pool has come to its reserve. A pool that cannot be looked at stops nothing: the kernel says when it is full.
    fn look_at_pool(&self) -> Result<(), FillError> {
        let FillRequest { vg, pool, reserve, .. } = *self.request;
        let data = self.report(pool, "lv_name,data_percent").ok().and_then(|text| parse_data_percent(&text).ok().flatten());
        match data {
            Some(data) if data > Hundredths(u32::from(100 - reserve.get()) * 100) => {
                Err(FillError::PoolFull { vg: vg.clone(), pool: pool.clone(), data, reserve })
            }
            _ => Ok(()),
        }
    }

    fn hash(&self, progress: &mut dyn Progress) -> Result<String, FillError> {
        hash_file(self.file, self.request.source, progress, |_, _| Ok(()))
    }

    /// Copies a raw file, without its zeros, and hashes every byte of it on the way.
    fn copy(&self, progress: &mut dyn Progress) -> Result<String, FillError> {
        let FillRequest { device, source: path, .. } = *self.request;
        let unwritable = |source| FillError::Write { device: device.to_owned(), source };
        let source = FillSource { path, size: self.file.stamp.size.0 };
        let mut disk = self.system.disks.open_for_fill(device, &source).map_err(unwritable)?;
        let mut written = 0;
        let sha256 = hash_file(self.file, path, progress, |offset, piece| {
            for (at, bytes) in data_of(piece) {
                disk.write_at(offset + at as u64, bytes).map_err(unwritable)?;
                written += bytes.len() as u64;
            }
            if written >= POOL_LOOK {
                written = 0;
                self.look_at_pool()?;
            }
            Ok(())
        })?;
        disk.finish().map_err(unwritable)?;
        self.look_at_pool()?;
        Ok(sha256)
    }

    /// Has qemu-img write the disk that is in the file.
    fn convert(&self, progress: &mut dyn Progress) -> Result<(), FillError> {
        let (format, path, total) = (self.request.format.to_string(), self.file.path(), self.file.stamp.size.0);
        let argv = ["qemu-img", "convert", "-p", "-n", "-f", &format, "-O", "raw", "-t", "none", "--target-is-zero", "--"];
        let command = Command::new(argv.into_iter().chain([&*path, self.request.device]), FILL_DEADLINE);
        // Held until qemu-img has ended: nothing else can claim the disk meanwhile.
        let source = FillSource { path: self.request.source, size: total };
        let unwritable = |source| FillError::Write { device: self.request.device.to_owned(), source };
        let _held = self.system.disks.open_for_fill(self.request.device, &source).map_err(unwritable)?;
        let mut full = None;
        let output = self.system.commands.run_watched(&command, &mut |text| {
            let Some(done) = parse_progress(text) else { return ControlFlow::Continue(()) };
            progress.advance((u128::from(total) * u128::from(done.0) / 10_000) as u64, total);
            match self.look_at_pool() {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    let reason = error.to_string();
                    full = Some(error);
                    ControlFlow::Break(reason)
                }
            }
        });
        match (output, full) {
            (Err(_), Some(full)) => Err(full),
            (Ok(output), _) if output.is_success() => Ok(()),
            (output, _) => {
                let error = output.map_or_else(|error| error, |output| output.failure(&command));
                Err(named(error, self.file, self.request.source).into())
            }
        }
    }

    fn check_sum(&self, is: &str) -> Result<(), FillError> {
        match self.request.sha256 {
            Some(should) if !is.eq_ignore_ascii_case(should) => {
                Err(FillError::Checksum { path: self.request.source.to_owned(), is: is.to_owned(), should: should.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// The last per cent in what `qemu-img -p` prints: `    (12.50/100%)\r`.
fn parse_progress(text: &str) -> Option<Hundredths> {
    let (_, last) = text.rsplit_once('(')?;
    let (whole, part) = last.split_once("/100%")?.0.split_once('.')?;
    Some(Hundredths(whole.parse::<u32>().ok()?.checked_mul(100)? + part.parse::<u32>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_of_qemu_img_is_read_from_its_last_line() {
        assert_eq!(parse_progress("    (0.00/100%)\r    (12.50/100%)\r"), Some(Hundredths(1250)));
        assert_eq!(parse_progress("    (100.00/100%)\r\n"), Some(Hundredths(10_000)));
        assert_eq!(parse_progress("    (1.0"), None);
        assert_eq!(parse_progress(""), None);
    }
}
