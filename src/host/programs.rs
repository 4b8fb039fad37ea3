//! Runs real programs.
//!
//! **Invariant:** a program never outlives its deadline nor blocks on a full pipe; it runs in a process group of its own, so that
//! what it started ends with it, and a Ctrl-C at the terminal is not for it. Whatever runs while a [`lock`](super::lock) is held
//! holds it too, for as long as it runs. Whoever waits for a program is told each second that it runs within its deadline.
#![expect(clippy::disallowed_methods, reason = "effect room: the one place that starts programs")]

use super::lock;
use super::lvm_config;
use super::ports::{Command, Commands, Ended, Output, Watch};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    ops::ControlFlow,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    process::{Child, ExitStatus, Stdio},
    rc::Rc,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Where system programs lie when a service's `PATH` leaves them out.
const SYSTEM_PATHS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How long output may follow a program's end: a daemon that LVM leaves behind (dmeventd) can keep the pipe open for good. On a
/// busy host the threads that read wait for their turn, and what is cut off here would pass for the whole.
const AFTERMATH: Duration = Duration::from_secs(2);

/// How often whoever waits for a program is told that it runs.
const BEAT: Duration = Duration::from_secs(1);

/// The programs of this process.
static RUNNING: Mutex<Started> = Mutex::new(Started { now: BTreeMap::new(), is_ending: false });

/// The programs that run now, by process id.
struct Started {
    now: BTreeMap<u32, String>,
    /// No other may begin: this process ends.
    is_ending: bool,
}

thread_local! {
    /// What is called while this thread waits for a program.
    static WAITING: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Has something called each second while this thread waits for a program within its deadline, until the result is dropped. Other
/// threads are not concerned: that one of them waits says nothing of this one.
pub fn while_waiting(told: impl Fn() + 'static) -> WhileWaiting {
    WAITING.set(Some(Rc::new(told)));
    WhileWaiting
}

/// Something is called while this thread waits; see [`while_waiting`].
#[derive(Debug)]
pub struct WhileWaiting;

impl Drop for WhileWaiting {
    fn drop(&mut self) {
        WAITING.set(None);
    }
}

/// Lets this process start no other program, and waits for those of LVM that run: killed in its critical section, LVM leaves devices
/// suspended. Their own deadlines bound it; `told` is called meanwhile. What only reads or writes an image is not waited for.
pub fn finish_programs(told: impl Fn()) {
    running().is_ending = true;
    while running().now.values().any(|argv| changes_devices(argv)) {
        told();
        thread::sleep(Duration::from_millis(100));
    }
}

/// Whether a command line is LVM's or device-mapper's.
fn changes_devices(argv: &str) -> bool {
    ["lv", "vg", "pv", "dmsetup"].iter().any(|name| argv.starts_with(name))
}

fn running() -> MutexGuard<'static, Started> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The programs that this process has started and that run now: their process ids and command lines.
pub fn programs_running() -> Vec<(u32, String)> {
    running().now.iter().map(|(pid, argv)| (*pid, argv.clone())).collect()
}

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
        let input = input_of(command);
        let mut child = begin(command, &input)?;
        let is_fed = matches!(input, Input::Fed(..));
        let (pid, group) = (child.id(), Pid::from_raw(child.id() as i32));
        let (events, seen) = channel();
        attend(&mut child, input, &events);
        thread::spawn(move || {
            let ended = child.wait();
            running().now.remove(&pid);
            events.send(Event::Ended(ended))
        });
        let ended = match collect(&seen, command.deadline, watch) {
            Collected::Output(Ok(output)) if is_fed && output.status == Some(NOT_FOUND) => return Err(Ended::Missing),
            Collected::Output(output) => return output.map_err(Ended::Io),
            Collected::Late => Ended::Late,
            Collected::Stopped(reason) => Ended::Stopped(reason),
        };
        // Fails only when the group has just ended by itself, which is what is wanted.
        let _ = killpg(group, Signal::SIGKILL);
        Err(ended)
    }
}

/// Starts a program and counts it, in one: whoever lets no other begin sees those that have.
fn begin(command: &Command, input: &Input) -> Result<Child, Ended> {
    let mut running = running();
    if running.is_ending {
        return Err(Ended::Stopped("this process ends".to_owned()));
    }
    let child = start(command, input).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Ended::Missing,
        _ => Ended::Io(error),
    })?;
    running.now.insert(child.id(), command.argv.join(" "));
    Ok(child)
}

/// Gives a program its input, which comes in so many parts before the program's own words, while the shell keeps its standard input
/// open: that is a lock. LVM closes every descriptor above the standard three when it starts (lvm2 `_close_stray_fds`), and its
/// standard input is the pipe.
const FEED: &str = r#"parts=$1; shift
feed() { while [ "$parts" -gt 0 ]; do printf %s "$1"; shift; parts=$((parts - 1)); done; }
feed "$@" | { shift "$parts"; "$@"; }"#;

/// What a shell ends with when it finds no such program.
const NOT_FOUND: i32 = 127;

/// The longest part of an input, below the kernel's MAX_ARG_STRLEN of 128 KiB, and the longest input, well below ARG_MAX.
const PART: usize = 64 << 10;
const LONGEST_FED: usize = 1 << 20;

/// Where a program's standard input comes from.
enum Input {
    /// A pipe from us.
    Piped(Vec<u8>),
    /// The lock that is held, which reads as empty.
    Lock(File),
    /// A shell that holds the lock.
    Fed(File, Vec<Vec<u8>>),
}

/// How a program gets its input, and with it the lock that is held.
fn input_of(command: &Command) -> Input {
    let input = &command.stdin;
    match lock::to_inherit() {
        None => Input::Piped(input.clone()),
        Some(lock) if input.is_empty() => Input::Lock(lock),
        // What no argument can carry goes without the lock.
        Some(_) if input.len() > LONGEST_FED || input.contains(&0) => Input::Piped(input.clone()),
        Some(lock) => Input::Fed(lock, input.chunks(PART).map(<[u8]>::to_vec).collect()),
    }
}

fn start(command: &Command, input: &Input) -> io::Result<Child> {
    let path = std::env::var("PATH").unwrap_or_default();
    let (program, arguments) = command.argv.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let (mut starting, stdin) = match input {
        Input::Piped(_) => (std::process::Command::new(program), Stdio::piped()),
        Input::Lock(lock) => (std::process::Command::new(program), Stdio::from(lock.try_clone()?)),
        Input::Fed(lock, parts) => {
            let mut shell = std::process::Command::new("/bin/sh");
            shell.args(["-c", FEED, "sh", &parts.len().to_string()]);
            shell.args(parts.iter().map(|part| OsStr::from_bytes(part))).arg(program);
            (shell, Stdio::from(lock.try_clone()?))
        }
    };
    for variable in lvm_config::UNSET {
        starting.env_remove(variable);
    }
    starting
        .args(arguments)
        .env("PATH", format!("{path}:{SYSTEM_PATHS}"))
        .env("LC_ALL", "C")
        .env("LVM_SUPPRESS_FD_WARNINGS", "1")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Gives each pipe a thread: a program that fills one pipe while we wait at another would never end.
fn attend(child: &mut Child, input: Input, events: &Sender<Event>) {
    if let (Some(mut stdin), Input::Piped(input)) = (child.stdin.take(), input) {
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
        match seen.recv_timeout(end.saturating_duration_since(Instant::now()).min(BEAT)) {
            Err(RecvTimeoutError::Timeout) if Instant::now() < end => {
                let told = WAITING.with_borrow(Clone::clone);
                told.into_iter().for_each(|told| told());
            }
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
    fn whoever_waits_for_a_program_is_told_that_it_runs_within_its_deadline() {
        let beats = Rc::new(std::cell::Cell::new(0));
        let counted = Rc::clone(&beats);
        let told = while_waiting(move || counted.set(counted.get() + 1));
        run(&["sleep", "2.5"], "", 20_000).expect("runs");
        assert_eq!(beats.get(), 2);
        drop(told);
        run(&["sleep", "1.5"], "", 20_000).expect("runs");
        assert_eq!(beats.get(), 2, "only for as long as it is wanted");
    }

    #[test]
    fn lvm_is_waited_for_and_what_reads_an_image_is_not() {
        for argv in ["lvm", "lvcreate -y", "vgs", "lvremove -f cafe/a", "dmsetup message x"] {
            assert!(changes_devices(argv), "{argv}");
        }
        for argv in ["qemu-img convert", "blkdiscard /dev/cafe/v", "barista hook look", "thin_check -V"] {
            assert!(!changes_devices(argv), "{argv}");
        }
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&["no-such-program-here"], "", 1000).expect_err("is missing");
        assert_eq!(error.to_string(), "no-such-program-here is not installed");
    }

    #[test]
    fn a_program_does_the_same_while_a_lock_is_held() {
        let root = tempfile::tempdir().expect("a directory");
        let _lock = crate::host::lock::lock_in(&crate::host::RunDir::new(root.path().join("run"))).expect("is free");
        let output = run(&["sh", "-c", "cat; echo no >&2; exit 5"], "", 10_000).expect("runs");
        assert_eq!(output, Output { status: Some(5), stdout: String::new(), stderr: "no\n".into() });
        let output = run(&["sh", "-c", "cat; echo \"$1\" >&2; exit 5", "sh", "it's %s"], "lvs\n\\n%d\n", 10_000).expect("runs");
        assert_eq!(output, Output { status: Some(5), stdout: "lvs\n\\n%d\n".into(), stderr: "it's %s\n".into() });
        let output = run(&["cat"], &"x".repeat(900_000), 20_000).expect("runs");
        assert_eq!((output.status, output.stdout.len()), (Some(0), 900_000));
        for input in ["", "x"] {
            let error = run(&["no-such-program-here"], input, 1000).expect_err("is missing");
            assert_eq!(error.to_string(), "no-such-program-here is not installed");
        }
        let error = run(&["sh", "-c", "sleep 60 & sleep 60"], "x", 200).expect_err("must not end");
        assert!(matches!(error, CommandError::Deadline { .. }), "{error}");
    }
}
