//! The ops of a plan that concern source files.
//!
//! **Invariant:** none but that of [`image`].

use super::{ApplyContext, Progress, chain};
use crate::host::{FillError, FillRequest, System, image};
use crate::names::{Bytes, LvName, Percent, VgName};
use crate::site::SourceFormat;

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
    let is = image::hash(&context.image_store, path, progress).map_err(|error| chain(&error))?;
    if is.eq_ignore_ascii_case(sha256) {
        return Ok(());
    }
    Err(FillError::Checksum { path: path.to_owned(), is, should: sha256.to_owned() }.to_string())
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
    let Target { vg, lv, size, pool, reserve } = *target;
    let format = match format {
        "raw" => SourceFormat::Raw,
        "qcow2" => SourceFormat::Qcow2,
        "vhdx" => SourceFormat::Vhdx,
        other => return Err(format!("{path}: {other:?} is no format of a source")),
    };
    let device = format!("/dev/{vg}/{lv}");
    let request = FillRequest { source: path, format, vg, lv, device: &device, size, sha256: None, pool, reserve };
    let filled = image::fill(system, &context.image_store, &request, progress).map_err(|error| chain(&error))?;
    tracing::info!(target: "barista::host", "filled {vg}/{lv} with {} bytes of {path}, SHA-256 {}", filled.bytes, filled.sha256);
    Ok(())
}
