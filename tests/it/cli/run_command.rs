//! `barista run`: the half that answers packets is another user's process, and neither half outlives the other.

use crate::cafe::{Agent, Cafe};
use crate::serve::netns::skipped;
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
    time::{Duration, Instant},
};

/// CAP_NET_BIND_SERVICE and CAP_NET_RAW.
const TWO_CAPABILITIES: &str = "0000000000002400";

/// A café whose serving half is nobody's; `None` where this user cannot become another.
fn start(cafe: &Cafe) -> Option<Agent> {
    if !geteuid().is_root() {
        skipped("`barista run` gives root up only where it has it");
        return None;
    }
    fs::set_permissions(cafe.work.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let log = fs::File::create(cafe.work.root.path().join("log")).unwrap();
    let arguments = ["run", "--repo", cafe.repository.to_str().unwrap(), "--user", "nobody"];
    let child = cafe.command(&arguments).stderr(log).stdout(Stdio::null()).spawn().unwrap();
    Some(Agent(child))
}

fn log(cafe: &Cafe) -> String {
    fs::read_to_string(cafe.work.root.path().join("log")).unwrap_or_default()
}

/// The process that serves: a child of the program that is the program itself.
fn serving(of: u32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).ok()?;
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .find(|pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.contains("\0serve\0")))
}

fn status(pid: i32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The serving half once it has given root up.
fn given_up(cafe: &Cafe, parent: u32) -> i32 {
    let mut pid = 0;
    cafe.until("the serving half has no root", || {
        pid = serving(parent).unwrap_or(0);
        pid > 0 && status(pid, "CapPrm") == TWO_CAPABILITIES && status(pid, "NoNewPrivs") == "1"
    });
    assert_eq!(status(pid, "Uid"), "65534 65534 65534 65534");
    pid
}

fn is_gone(pid: i32) -> bool {
    matches!(status(pid, "State").chars().next(), None | Some('Z'))
}

#[test]
fn the_half_that_answers_packets_has_no_root_and_ends_with_the_other() {
    let cafe = Cafe::with_repository();
    let Some(run) = start(&cafe) else { return };
    let pid = given_up(&cafe, run.0.id());
    cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0);
    cafe.until("it serves what was pushed", || log(&cafe).contains("serving a new boot table"));
    assert_eq!(run.stop(), Some(0), "{}", log(&cafe));
    assert!(is_gone(pid), "{}", log(&cafe));
}

#[test]
fn it_leaves_no_orphan_when_it_is_killed() {
    let cafe = Cafe::with_repository();
    let Some(mut run) = start(&cafe) else { return };
    let pid = given_up(&cafe, run.0.id());
    // It asks the kernel for its parent's end after it has given root up, a moment later.
    cafe.until("it waits for its first table", || log(&cafe).contains("waiting for "));
    run.0.kill().unwrap();
    cafe.until("the serving half has ended", || is_gone(pid));
}

#[test]
fn a_serving_half_that_was_well_is_started_anew_and_one_that_was_not_ends_the_program() {
    let cafe = Cafe::with_repository();
    let Some(mut run) = start(&cafe) else { return };
    let first = given_up(&cafe, run.0.id());
    let begun = Instant::now();
    cafe.until("it has been well for a while", || begun.elapsed() > Duration::from_secs(11));
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let mut second = first;
    cafe.until("there is another", || {
        second = serving(run.0.id()).unwrap_or(first);
        second != first
    });
    assert!(log(&cafe).contains("it is started anew in 2 s"), "{}", log(&cafe));
    given_up(&cafe, run.0.id());
    kill(Pid::from_raw(second), Signal::SIGKILL).unwrap();
    let mut ended = None;
    cafe.until("the program ends", || {
        ended = run.0.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.and_then(|ended| ended.code()), Some(1), "{}", log(&cafe));
    assert!(log(&cafe).contains("error: the serving half ended"), "{}", log(&cafe));
}
