//! The programs that barista runs, on the fake's state.
//!
//! **Invariant:** a program that is not modelled is not installed.
#![expect(clippy::disallowed_methods, reason = "effect room: qemu-img reads real source files")]

use super::lvm::{Lvm, Refusal};
use super::{FakeHost, Lio, World, lvm_commands, lvm_reports};
use crate::host::{Command, Commands, Ended, Output, Watch, lvm_config};
use sha2::Digest;
use std::{fs, ops::ControlFlow};

/// LVM's commands by their own names.
const LVM: [&str; 7] = ["lvcreate", "lvremove", "lvchange", "lvrename", "lvextend", "lvs", "vgs"];

/// Where a qcow2 header says so: the offset of the backing file's name, and the size of the disk (qemu `docs/interop/qcow2.rst`).
const QCOW2_BACKING: usize = 8;
const QCOW2_SIZE: usize = 24;
/// The number of entries of its first table, and where that begins.
const QCOW2_TABLE_SIZE: usize = 36;
const QCOW2_TABLE: usize = 40;

impl Commands for FakeHost {
    fn execute(&self, command: &Command, watch: &mut Watch<'_>) -> Result<Output, Ended> {
        let output = match &command.argv[..] {
            [lvm] if lvm == "lvm" && !self.world().answers.contains_key(lvm) && !self.world().missing_programs.contains(lvm) => {
                self.run_shell(&command.stdin)
            }
            _ => {
                let output = run(&mut self.world(), command);
                self.tell();
                output?
            }
        };
        match watch(&output.stdout) {
            ControlFlow::Continue(()) => Ok(output),
            ControlFlow::Break(reason) => Err(Ended::Stopped(reason)),
        }
    }
}

impl FakeHost {
    /// A shell of LVM's that reads commands and always ends with status 0.
    fn run_shell(&self, stdin: &[u8]) -> Output {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        for line in String::from_utf8_lossy(stdin).lines() {
            let words = split_words(line);
            let Some((first, rest)) = words.split_first() else { continue };
            let output = run_lvm_command(&mut self.world(), first, rest);
            self.tell();
            stdout.push_str(&output.stdout);
            stderr.push_str(&output.stderr);
        }
        Output { status: Some(0), stdout: stdout + "\n", stderr }
    }
}

fn run(world: &mut World, command: &Command) -> Result<Output, Ended> {
    let (program, words) = command.argv.split_first().ok_or(Ended::Missing)?;
    if world.missing_programs.contains(program) {
        return Err(Ended::Missing);
    }
    if let Some(answer) = world.answers.get(program) {
        return Ok(answer.clone());
    }
    let output = match program.as_str() {
        "lvm" => run_lvm(world, words),
        name if LVM.contains(&name) => run_lvm_command(world, name, words),
        "qemu-img" => from_result(run_qemu_img(world, words)),
        "blkdiscard" => from_result(run_on_device(world, "blkdiscard", words)),
        "blockdev" => from_result(run_on_device(world, "blockdev", words)),
        "modprobe" => from_result(run_modprobe(world, words)),
        "dmsetup" => said("thin-pool        v1.22.0\nthin             v1.22.0\n"),
        _ => return Err(Ended::Missing),
    };
    Ok(output)
}

fn said(stdout: &str) -> Output {
    Output { status: Some(0), stdout: stdout.to_owned(), stderr: String::new() }
}

fn from_result(result: Result<String, Refusal>) -> Output {
    match result {
        Ok(stdout) => said(&stdout),
        Err((status, stderr)) => Output { status: Some(status), stdout: String::new(), stderr: format!("{stderr}\n") },
    }
}

/// `lvm version`, `lvm <command> …`.
fn run_lvm(world: &mut World, words: &[String]) -> Output {
    match words.split_first() {
        Some((first, _)) if first == "version" => said("  LVM version:     2.03.16(2) (2022-05-18)\n"),
        Some((first, rest)) => run_lvm_command(world, first, rest),
        None => said(""),
    }
}

/// Words of a line of the lvm shell; what stands within single quotes is one.
fn split_words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let words = parts.flat_map(|(at, part)| if at % 2 == 1 { vec![part] } else { part.split_whitespace().collect() });
    words.map(str::to_owned).collect()
}

/// Whether a command carries what makes LVM's output the same on every host; those that do not are remembered.
fn has_settings(world: &mut World, command: &str, words: &[String]) -> bool {
    let ours = [lvm_config::settings(), lvm_config::shell_settings()];
    let has = words.windows(2).any(|pair| pair[0] == "--config" && ours.contains(&pair[1]));
    if !has {
        world.bare_lvm.push(format!("{command} {}", words.join(" ")));
    }
    has
}

fn run_lvm_command(world: &mut World, command: &str, words: &[String]) -> Output {
    let has_settings = !LVM.contains(&command) || has_settings(world, command, words);
    if ["lvs", "vgs"].contains(&command) {
        let (mut stdout, refusal) = lvm_reports::report(&world.lvm, command, words);
        if world.has_odd_lvm_conf && !has_settings {
            // Of `list_item_separator` and `prefixes`.
            stdout = stdout.replace(',', "|").replace(": \"", ": \"LVM2_");
        }
        let (status, stderr) = refusal.unwrap_or((0, String::new()));
        return Output { status: Some(status), stdout, stderr: format!("  {stderr}\n") };
    }
    let mut told = Vec::new();
    let done = lvm_commands::run(world, command, words, &mut told);
    let stdout: String = told.into_iter().map(|line| format!("  {line}\n")).collect();
    match done {
        Ok(()) => said(&stdout),
        Err((status, stderr)) => Output { status: Some(status), stdout, stderr: format!("  {stderr}\n") },
    }
}

fn run_modprobe(world: &mut World, words: &[String]) -> Result<String, Refusal> {
    let modules: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let is_dry = words.iter().any(|word| word == "-n" || word == "--dry-run" || word == "-nq");
    let known = |module: &&str| ["configfs", "dm_thin_pool", "dm-thin-pool", "dm_snapshot"].contains(module) || is_lio(module);
    if let Some(unknown) = modules.iter().find(|module| !known(module)) {
        return Err((1, format!("modprobe: FATAL: Module {unknown} not found in directory /lib/modules/fake")));
    }
    if !is_dry {
        world.effect(&format!("modprobe {}", modules.join(" ")))?;
        if modules.iter().any(|module| is_lio(module)) && world.has_configfs {
            world.lio.get_or_insert_with(Lio::new);
        }
    }
    Ok(String::new())
}

pub(super) fn is_lio(module: &str) -> bool {
    ["target_core_mod", "target_core_iblock", "target_core_file", "iscsi_target_mod"].contains(&module)
}

/// A program that works on one device, named last.
fn run_on_device(world: &mut World, program: &str, words: &[String]) -> Result<String, Refusal> {
    let path = words.last().cloned().unwrap_or_default();
    world.effect(&format!("{program} {path}"))?;
    let Some((vg, name)) = world.lvm.by_path(&path) else {
        return Err((1, format!("{program}: cannot open {path}: No such file or directory")));
    };
    if let ("blkdiscard", Some(lv)) = (program, world.lvm.lv_mut(&vg, &name)) {
        if lv.read_only {
            return Err((1, format!("blkdiscard: cannot open {path}: Permission denied")));
        }
        (lv.mapped, lv.content) = (0, super::Content::default());
        lv.count(lv.size);
    }
    Ok(String::new())
}

/// `qemu-img info` and `qemu-img convert` on real source files; only their heads are read.
fn run_qemu_img(world: &mut World, words: &[String]) -> Result<String, Refusal> {
    let after = |option: &str| words.iter().position(|word| word == option).and_then(|at| words.get(at + 1)).cloned();
    let format = after("-f").unwrap_or_default();
    let at = words.iter().position(|word| word == "--").ok_or((1, "this fake wants --".to_owned()))?;
    match (words.first().map(String::as_str), &words[at + 1..]) {
        (Some("check"), [file]) => check_disk(file, &format),
        (Some("info"), [file]) => {
            let (size, backing) = read_disk(file, &format)?;
            let backing = if backing { r#", "backing-filename": "/a/backing/file""# } else { "" };
            Ok(format!(r#"{{"virtual-size": {size}, "format": "{format}"{backing}}}"#))
        }
        (Some("convert"), [file, device]) => {
            world.effect(&format!("qemu-img convert {file} {device}"))?;
            let (size, _) = read_disk(file, &format)?;
            let missing = || (1, format!("qemu-img: Could not open '{device}': No such file or directory"));
            let (vg, name) = world.lvm.by_path(device).ok_or_else(missing)?;
            let lv = world.lvm.lv_mut(&vg, &name).ok_or_else(missing)?;
            if lv.read_only {
                return Err((1, format!("qemu-img: Could not open '{device}': Permission denied")));
            }
            if size > lv.size {
                return Err((1, "qemu-img: output file is smaller than input file".into()));
            }
            let was_blank = lv.mapped == 0;
            if words.iter().any(|word| word == "--target-is-zero") && !was_blank {
                // What lay under the file's holes shows through.
                lv.content.writes += 1;
            } else {
                let bytes = fs::read(file).map_err(|error| (1, error.to_string()))?;
                // Of a file that is handed over by its descriptor.
                let name = fs::read_link(file).map_or(file.clone(), |name| name.display().to_string());
                let sha256: String = sha2::Sha256::digest(&bytes).iter().map(|octet| format!("{octet:02x}")).collect();
                lv.content = super::Content { file: Some(name), sha256: Some(sha256.clone()), writes: 0 };
                let filled = super::Filled { uuid: lv.uuid.clone(), sha256 };
                world.fills.push(filled);
            }
            let Some(lv) = world.lvm.lv_mut(&vg, &name) else { return Err(missing()) };
            lv.mapped = size.min(fs::metadata(file).map_or(0, |metadata| metadata.len()));
            Ok("    (0.00/100%)\r    (100.00/100%)\r\n".into())
        }
        _ => Err((1, "qemu-img: unknown command".into())),
    }
}

/// Of `qemu-img check`: whether a qcow2 file reaches to the end of its first table, and where it lacks one, nothing.
fn check_disk(file: &str, format: &str) -> Result<String, Refusal> {
    read_disk(file, format)?;
    if format == "raw" {
        return Err((63, "qemu-img: This image format does not support checks".into()));
    }
    let bytes = fs::read(file).map_err(|error| (1, error.to_string()))?;
    let entries = bytes.get(QCOW2_TABLE_SIZE..).and_then(|rest| Some(u32::from_be_bytes(rest.get(..4)?.try_into().ok()?)));
    let start = bytes.get(QCOW2_TABLE..).and_then(|rest| Some(u64::from_be_bytes(rest.get(..8)?.try_into().ok()?)));
    match (start, entries) {
        (Some(start), Some(entries)) if start + u64::from(entries) * 8 > bytes.len() as u64 => {
            Err((2, "ERROR: counting reference for region exceeding the end of the file by one cluster or more".into()))
        }
        _ => Ok("No errors were found on the image.\n".into()),
    }
}

/// The size of the disk in a file, and whether it has a backing file.
fn read_disk(file: &str, format: &str) -> Result<(u64, bool), Refusal> {
    let broken = |why: String| (1, format!("qemu-img: Could not open '{file}': {why}"));
    let bytes = fs::read(file).map_err(|error| broken(error.to_string()))?;
    if format == "raw" {
        return Ok(((bytes.len() as u64).div_ceil(512) * 512, false));
    }
    let number = |at: usize| bytes.get(at..at + 8).and_then(|octets| octets.try_into().ok()).map(u64::from_be_bytes);
    match (bytes.starts_with(b"QFI\xfb"), number(QCOW2_BACKING), number(QCOW2_SIZE)) {
        (true, Some(backing), Some(size)) if format == "qcow2" => Ok((size, backing != 0)),
        _ => Err(broken(format!("Image is not in {format} format"))),
    }
}

impl Lio {
    /// The volume that a backstore has open.
    pub(super) fn volume_of(&self, backstore: &str, lvm: &Lvm) -> Option<(String, String)> {
        lvm.by_number(self.devices.get(backstore)?.number?)
    }
}
