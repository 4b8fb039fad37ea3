//! Runs real programs.
//!
//! **Invariant:** a program never outlives its deadline nor blocks on a full pipe; it runs in a process group of its own, so that
//! what it started ends with it.
#![expect(clippy::disallowed_methods, reason = "effect room: the one place that starts programs")]

use super::lvm_config;
use super::ports::{Command, Commands, Ended, Output, Watch};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    io::{self, Read, Write},
    ops::ControlFlow,
    os::unix::process::CommandExt,
    process::{Child, ExitStatus, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

/// Where system programs lie when a service's `PATH` leaves them out.
const SYSTEM_PATHS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How long output may follow a program's end: a daemon that LVM leaves behind (dmeventd) can keep the pipe open for good. On a
/// busy host the threads that read wait for their turn, and what is cut off here would pass for the whole.
const AFTERMATH: Duration = Duration::from_secs(2);

/// Programs of this host, looked up in `PATH`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Programs;

enum Event {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Closed,
    Ended(io::Result<ExitStatus>),
}

impl Commands for Programs {
    fn execute(&self, command: &Command, watch: &mut Watch<'_>) -> Result<Output, Ended> {
        let mut child = start(command).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Ended::Missing,
            _ => Ended::Io(error),
        })?;
        let group = Pid::from_raw(child.id() as i32);
        let (events, seen) = channel();
        attend(&mut child, command.stdin.clone(), &events);
        thread::spawn(move || events.send(Event::Ended(child.wait())));
        let ended = match collect(&seen, command.deadline, watch) {
            Collected::Output(output) => return output.map_err(Ended::Io),
            Collected::Late => Ended::Late,
            Collected::Stopped(reason) => Ended::Stopped(reason),
        };
        // Fails only when the group has just ended by itself, which is what is wanted.
        let _ = killpg(group, Signal::SIGKILL);
        Err(ended)
    }
}

fn start(command: &Command) -> io::Result<Child> {
    let path = std::env::var("PATH").unwrap_or_default();
    let (program, arguments) = command.argv.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut starting = std::process::Command::new(program);
    for variable in lvm_config::UNSET {
        starting.env_remove(variable);
    }
    starting
        .args(arguments)
        .env("PATH", format!("{path}:{SYSTEM_PATHS}"))
        .env("LC_ALL", "C")
        .env("LVM_SUPPRESS_FD_WARNINGS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Gives each pipe a thread: a program that fills one pipe while we wait at another would never end.
fn attend(child: &mut Child, input: Vec<u8>, events: &Sender<Event>) {
    if let Some(mut stdin) = child.stdin.take() {
        // A program may end without reading its input; that it did so shows in its status.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    if let Some(stdout) = child.stdout.take() {
        pump(stdout, events.clone(), Event::Stdout);
    }
    if let Some(stderr) = child.stderr.take() {
        pump(stderr, events.clone(), Event::Stderr);
    }
}

fn pump(mut pipe: impl Read + Send + 'static, events: Sender<Event>, wrap: fn(Vec<u8>) -> Event) {
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if events.send(wrap(buffer[..count].to_vec())).is_err() {
                return;
            }
        }
        drop(events.send(Event::Closed));
    });
}

/// How gathering output came to its end.
enum Collected {
    Output(io::Result<Output>),
    Late,
    Stopped(String),
}

/// Gathers output until the program has ended and both pipes are closed, or the deadline or the watcher ends it.
fn collect(seen: &Receiver<Event>, deadline: Duration, watch: &mut Watch<'_>) -> Collected {
    let mut end = Instant::now() + deadline;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (mut open, mut status) = (2, None);
    while open > 0 || status.is_none() {
        match seen.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Event::Stdout(bytes)) => {
                if let ControlFlow::Break(reason) = watch(&String::from_utf8_lossy(&bytes)) {
                    return Collected::Stopped(reason);
                }
                stdout.extend(bytes);
            }
            Ok(Event::Stderr(bytes)) => stderr.extend(bytes),
            Ok(Event::Closed) => open -= 1,
            Ok(Event::Ended(Ok(ended))) => {
                status = Some(ended);
                end = end.min(Instant::now() + AFTERMATH);
            }
            Ok(Event::Ended(Err(error))) => return Collected::Output(Err(error)),
            Err(_) => break,
        }
    }
    let Some(status) = status else { return Collected::Late };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Collected::Output(Ok(Output { status: status.code(), stdout: text(stdout), stderr: text(stderr) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::CommandError;

    fn run(argv: &[&str], stdin: &str, millis: u64) -> Result<Output, CommandError> {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Programs.run(&Command { argv, stdin: stdin.as_bytes().to_vec(), deadline: Duration::from_millis(millis) })
    }

    #[test]
    fn a_program_gets_its_input_and_gives_both_outputs_and_its_status() {
        let output = run(&["sh", "-c", "cat; echo no >&2; exit 5"], "lvs\n", 10_000).expect("runs");
        assert_eq!(output, Output { status: Some(5), stdout: "lvs\n".into(), stderr: "no\n".into() });
    }

    #[test]
    fn much_output_and_much_input_do_not_block_each_other() {
        let output = run(&["sh", "-c", "cat; cat /dev/zero | head -c 300000 >&2"], &"x".repeat(400_000), 20_000).expect("runs");
        assert_eq!((output.stdout.len(), output.stderr.len()), (400_000, 300_000));
    }

    #[test]
    fn a_program_past_its_deadline_is_killed_with_what_it_started() {
        let started = Instant::now();
        let error = run(&["sh", "-c", "sleep 60 & sleep 60"], "", 200).expect_err("must not end");
        assert!(matches!(error, CommandError::Deadline { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_daemon_left_behind_does_not_hold_the_caller() {
        let started = Instant::now();
        let output = run(&["sh", "-c", "sleep 30 & echo done"], "", 25_000).expect("runs");
        assert_eq!(output.stdout, "done\n");
        assert!(started.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&["no-such-program-here"], "", 1000).expect_err("is missing");
        assert_eq!(error.to_string(), "no-such-program-here is not installed");
    }
}
