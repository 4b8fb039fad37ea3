//! Verifies source files and fills volumes from them.
//!
//! **Invariant:** a file is read by the format its name says and never follows a backing file, a data file or a link out of the
//! store; a volume that something holds open is never filled.
#![expect(clippy::disallowed_methods, reason = "effect room: reads image sources")]

use super::{ApplyContext, Progress, chain};
use crate::host::observe::{read_disk_size, resolve_in_store};
use crate::host::{Command, System};
use crate::names::{Bytes, LvName, Percent, VgName};
use crate::observed::{Hundredths, LV_FIELDS, lvs, parse_data_percent, parse_lvs};
use sha2::{Digest, Sha256};
use std::{fs, io::Read, ops::ControlFlow, time::Duration};

/// A terabyte from a slow disk.
const FILL_DEADLINE: Duration = Duration::from_secs(24 * 3600);
/// Discarding and flushing a whole volume.
const DEVICE_DEADLINE: Duration = Duration::from_secs(600);

/// How much is hashed between two reports of progress.
const PIECE: usize = 1 << 20;

/// What is filled.
pub(super) struct Target<'a> {
    pub(super) vg: &'a VgName,
    pub(super) lv: &'a LvName,
    pub(super) size: Bytes,
    pub(super) pool: &'a LvName,
    pub(super) reserve: Percent,
}

/// Compares a file's SHA-256 with what it must be.
pub(super) fn verify(context: &ApplyContext, path: &str, sha256: &str, progress: &mut dyn Progress) -> Result<(), String> {
    let about = |error: std::io::Error| format!("{path}: {error}");
    let file = resolve_in_store(&context.image_store, path).map_err(about)?;
    let mut file = fs::File::open(file).map_err(about)?;
    let total = file.metadata().map_err(about)?.len();
    let (mut hasher, mut done, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        let count = file.read(&mut piece).map_err(about)?;
        if count == 0 {
            break;
        }
        hasher.update(&piece[..count]);
        done += count as u64;
        progress.advance(done, total);
    }
    let found: String = hasher.finalize().iter().map(|octet| format!("{octet:02x}")).collect();
    if found.eq_ignore_ascii_case(sha256) {
        Ok(())
    } else {
        Err(format!("{path}: its SHA-256 is {found} and the site says {sha256}"))
    }
}

/// Fills a volume from a file and flushes it.
pub(super) fn fill(
    system: &System,
    context: &ApplyContext,
    path: &str,
    format: &str,
    target: &Target<'_>,
    progress: &mut dyn Progress,
) -> Result<(), String> {
    let disk = read_disk_size(system, &context.image_store, path, format).map_err(|reason| format!("{path}: {reason}"))?;
    if disk > target.size {
        return Err(format!("{path}: its disk of {disk} does not fit into {}/{} of {}", target.vg, target.lv, target.size));
    }
    refuse_open(system, target)?;
    let device = format!("/dev/{}/{}", target.vg, target.lv);
    let source = resolve_in_store(&context.image_store, path).map_err(|error| format!("{path}: {error}"))?;
    let source = source.to_string_lossy();
    let mut argv = vec!["qemu-img", "convert", "-p", "-n", "-f", format, "-O", "raw", "-t", "none"];
    if is_blank(system, target, &device)? {
        // Holes of the source are then left out, and the thin volume stays as small as what the image holds.
        argv.push("--target-is-zero");
    }
    argv.extend(["--", &*source, &*device]);
    let command = Command::new(argv, FILL_DEADLINE);
    let output = system.commands.run_watched(&command, &mut |text| match parse_progress(text) {
        Some(done) => {
            progress.advance(u64::from(done.0), 10_000);
            watch_pool(system, target)
        }
        None => ControlFlow::Continue(()),
    });
    let output = output.map_err(|error| chain(&error))?;
    if !output.is_success() {
        return Err(chain(&output.failure(&command)));
    }
    // LIO reads the device and not the host's page cache.
    let flush = Command::new(["blockdev", "--flushbufs", &device], DEVICE_DEADLINE);
    system.commands.succeed(&flush).map(drop).map_err(|error| chain(&error))
}

/// Stops the filling before the pool is full: then every write of every seat would wait a minute and fail (dm-thin
/// `no_space_timeout`). qemu-img tells of its progress at every per cent, which bounds what is written between two looks.
fn watch_pool(system: &System, target: &Target<'_>) -> ControlFlow<String> {
    let pool = Target { lv: target.pool, ..*target };
    let data = report(system, &pool, "lv_name,data_percent").ok().and_then(|text| parse_data_percent(&text).ok().flatten());
    let limit = Hundredths(u32::from(100 - target.reserve.get()) * 100);
    match data {
        Some(data) if data > limit => ControlFlow::Break(format!(
            "thin pool {}/{} is {}.{:02} % full and the site reserves {}",
            target.vg,
            target.pool,
            data.0 / 100,
            data.0 % 100,
            target.reserve
        )),
        _ => ControlFlow::Continue(()),
    }
}

fn report(system: &System, target: &Target<'_>, fields: &str) -> Result<String, String> {
    let volume = format!("{}/{}", target.vg, target.lv);
    let argv = lvs(fields, &volume);
    let output = system.commands.succeed(&Command::new(argv, DEVICE_DEADLINE)).map_err(|error| chain(&error))?;
    Ok(output.stdout)
}

fn refuse_open(system: &System, target: &Target<'_>) -> Result<(), String> {
    let lvs = parse_lvs(&report(system, target, LV_FIELDS)?).map_err(|error| chain(&error))?;
    match lvs.get(target.lv.as_str()) {
        Some(lv) if lv.open => Err(format!("{}/{} is held open by something and is not filled", target.vg, target.lv)),
        Some(lv) if lv.read_only => Err(format!("{}/{} is read-only and is not filled", target.vg, target.lv)),
        Some(_) => Ok(()),
        None => Err(format!("{}/{} is not there", target.vg, target.lv)),
    }
}

/// Whether every byte of the volume reads as zero. What an interrupted attempt left is discarded first; where that does not
/// leave the volume without a single chunk, qemu-img has to write the zeros itself.
fn is_blank(system: &System, target: &Target<'_>, device: &str) -> Result<bool, String> {
    let blank = || {
        let data = parse_data_percent(&report(system, target, "lv_name,data_percent")?).map_err(|error| chain(&error))?;
        Ok::<bool, String>(data == Some(Hundredths(0)))
    };
    if blank()? {
        return Ok(true);
    }
    let discard = Command::new(["blkdiscard", "-f", device], DEVICE_DEADLINE);
    let discarded = system.commands.succeed(&discard);
    tracing::debug!(target: "barista::host", device, ok = discarded.is_ok(), "discarded what an earlier attempt left");
    blank()
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
