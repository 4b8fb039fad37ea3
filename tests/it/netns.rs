//! What tests in network namespaces share.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

/// Runs a program of plain words; whether it went well.
pub fn run(words: &str) -> bool {
    let mut words = words.split_whitespace();
    let program = words.next().expect("a program");
    Command::new(program).args(words).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// One exchange of busybox's udhcpc on `c0` of a namespace, and what its script was told; empty when nobody answered.
pub fn udhcpc(namespace: &str, directory: &Path, extra: &[&str]) -> BTreeMap<String, String> {
    let (script, out) = (directory.join("script"), directory.join("told"));
    fs::write(&script, format!("#!/bin/sh\n[ \"$1\" = bound ] && env > {}\nexit 0\n", out.display())).expect("it is written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it may run");
    drop(fs::remove_file(&out));
    Command::new("ip")
        .args(["netns", "exec", namespace, "busybox", "udhcpc", "-i", "c0", "-n", "-q", "-f", "-t", "3", "-T", "1", "-s"])
        .arg(&script)
        .args(extra)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it runs");
    let told = fs::read_to_string(&out).unwrap_or_default();
    told.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
