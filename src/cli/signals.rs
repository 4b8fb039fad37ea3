//! What Ctrl-C and SIGTERM do while a plan is carried out.
//!
//! **Invariant:** the first lets the running step end and begins no other; the second ends this program alone: what it started works
//! on and keeps the host's lock until it has ended.
#![expect(clippy::disallowed_methods, reason = "effect room: waits for signals in a thread, and ends the program at the second")]

use super::{agent::told_to_stop, output};
use crate::host::{Interrupt, programs_running};
use std::{process, thread};

/// The exit code of an apply that did a part.
const PARTIAL: i32 = 3;

/// Waits for signals from now on.
pub(super) fn watch(interrupt: Interrupt) {
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            tracing::warn!("signals cannot be caught here: the program ends where it stands when it is told to");
            return;
        };
        runtime.block_on(async {
            told_to_stop().await;
            interrupt.request();
            output::note(format!(
                "stopping: no other step begins{}; once more ends this at once",
                still_running(", and waits for ")
            ));
            told_to_stop().await;
            output::note(format!("ended{}", still_running("; still at work, and holding the host's lock: ")));
            process::exit(PARTIAL);
        });
    });
}

/// What of ours runs now, behind these words; nothing when nothing does.
fn still_running(words: &str) -> String {
    let running: Vec<String> = programs_running().into_iter().map(|(pid, argv)| format!("{argv} (process {pid})")).collect();
    if running.is_empty() { String::new() } else { format!("{words}{}", running.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Command, Commands as _, LockError, Programs, RunDir, lock::lock_in};
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    use std::{
        env, fs,
        path::Path,
        process::{Child, Stdio},
        time::{Duration, Instant},
    };

    const PLACE: &str = "BARISTA_TEST_SIGNALS_PLACE";

    /// Not a test: the process that is interrupted while a program works under its lock.
    #[test]
    fn interrupted_process() {
        let Ok(place) = env::var(PLACE) else { return };
        let place = Path::new(&place);
        let interrupt = Interrupt::default();
        watch(interrupt.clone());
        let _lock = lock_in(&RunDir::new(place.join("run"))).expect("is free");
        let script = format!("cd {}; touch begun; while ! [ -e end ]; do sleep 0.05; done; touch done", place.display());
        drop(Programs.run(&Command::new(["sh", "-c", &script], Duration::from_secs(60))));
        fs::write(place.join("step-ended"), format!("{}", interrupt.is_requested())).expect("written");
    }

    fn start(place: &Path) -> Child {
        let mut command = process::Command::new(env::current_exe().expect("it runs"));
        command.args(["cli::signals::tests::interrupted_process", "--exact", "--nocapture"]).env(PLACE, place);
        let child = command.stdout(Stdio::null()).stderr(fs::File::create(place.join("told")).expect("made")).spawn();
        until("the program works", || place.join("begun").exists());
        child.expect("starts")
    }

    fn until(what: &str, mut is: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is() {
            assert!(Instant::now() < deadline, "not within 30 s: {what}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(child: &Child, signal: Signal) {
        kill(Pid::from_raw(child.id() as i32), signal).expect("it runs");
    }

    #[test]
    fn the_first_signal_waits_for_the_running_step_and_the_second_does_not() {
        let told = |place: &Path| fs::read_to_string(place.join("told")).unwrap_or_default();
        let root = tempfile::tempdir().expect("a directory");
        let mut child = start(root.path());
        signal(&child, Signal::SIGINT);
        until("it is told", || told(root.path()).contains("stopping: no other step begins, and waits for sh -c"));
        assert_eq!(child.try_wait().expect("it runs"), None);
        fs::write(root.path().join("end"), "").expect("written");
        assert!(child.wait().expect("ends").success());
        assert_eq!(fs::read_to_string(root.path().join("step-ended")).expect("is there"), "true");

        let root = tempfile::tempdir().expect("a directory");
        let mut child = start(root.path());
        signal(&child, Signal::SIGTERM);
        until("it is told", || told(root.path()).contains("stopping"));
        signal(&child, Signal::SIGINT);
        assert_eq!(child.wait().expect("ends").code(), Some(PARTIAL));
        assert!(told(root.path()).contains("still at work, and holding the host's lock: sh -c"), "{}", told(root.path()));
        let run = RunDir::new(root.path().join("run"));
        assert!(matches!(lock_in(&run), Err(LockError::Held { .. })));
        fs::write(root.path().join("end"), "").expect("written");
        until("its work is done", || root.path().join("done").exists());
        until("the lock is free", || lock_in(&run).is_ok());
    }
}
