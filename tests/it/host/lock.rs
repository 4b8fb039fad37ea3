//! The host's lock and whoever is killed while holding it.

use crate::serve::netns::named;
use barista::host::{
    Command, Commands as _, LockError, Programs, RunDir,
    lock::{lock_in, seat},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    env, fs,
    path::Path,
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Says to a copy of this program that it is the one to be killed, and where it works.
const PLACE: &str = "BARISTA_TEST_LOCK_PLACE";
const INPUT: &str = "BARISTA_TEST_LOCK_INPUT";

/// Not a test: the process that is killed. It holds the lock while a program works until `end` is there.
#[test]
fn holder_of_the_lock() {
    let Ok(place) = env::var(PLACE) else { return };
    let _lock = lock_in(&RunDir::new(Path::new(&place).join("run"))).expect("is free");
    let script = format!("cd {place}; touch begun; while ! [ -e end ]; do sleep 0.05; done; touch done");
    let argv = vec!["sh".to_owned(), "-c".to_owned(), script];
    let stdin = env::var(INPUT).unwrap_or_default().into_bytes();
    drop(Programs.run(&Command { argv, stdin, deadline: Duration::from_secs(60) }));
}

fn start(place: &Path, input: &str) -> Child {
    // A shell without job control starts what runs in its background with SIGINT ignored, and that is inherited.
    std::process::Command::new("env")
        .arg("--default-signal=INT")
        .arg(env::current_exe().unwrap())
        .args([&named(module_path!(), "holder_of_the_lock"), "--exact", "--nocapture"])
        .env(PLACE, place)
        .env(INPUT, input)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_lock_lives_as_long_as_the_program_that_its_killed_holder_started() {
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        for input in ["", "a script of LVM commands\n"] {
            let root = tempfile::tempdir().unwrap();
            let place = root.path();
            let run = RunDir::new(place.join("run"));
            let mut holder = start(place, input);
            until("the program works", || place.join("begun").exists());
            kill(Pid::from_raw(holder.id() as i32), signal).unwrap();
            holder.wait().unwrap();
            assert!(matches!(lock_in(&run), Err(LockError::Held { .. })), "{signal} {input:?}: the program still works");
            fs::write(place.join("end"), "").unwrap();
            until("its work is done", || place.join("done").exists());
            until("the lock is free", || lock_in(&run).is_ok());
        }
    }
}

#[test]
fn a_host_has_one_lock_whatever_the_state_directory_is() {
    let root = tempfile::tempdir().unwrap();
    let run = RunDir::new(root.path().join("run"));
    let first = lock_in(&run).unwrap();
    assert!(matches!(lock_in(&run), Err(LockError::Held { .. })));
    // A seat's lock is another one: an assignment never waits for an apply.
    assert!(seat(&run, &"pc01".parse().unwrap()).is_ok());
    drop(first);
    assert!(lock_in(&run).is_ok());
}
