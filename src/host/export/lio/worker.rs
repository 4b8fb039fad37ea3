//! Carries out changes in configfs, each with a deadline.
//!
//! **Invariant:** doing what is done already is fine, and doing it to something else of the same name is not; an op that the
//! kernel does not finish in time is left behind in its thread and never waited for again.
#![expect(clippy::disallowed_methods, reason = "effect room: a thread that may block in the kernel")]

use super::op::{ConfigFsOp, SecretPart, render};
use crate::host::{ConfigFs, read_secrets};
use crate::plan::Outcome;
use nix::errno::Errno;
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// While an op is stuck the others get only this long: configfs holds one mutex for the whole subsystem while it removes an object
/// (`fs/configfs/dir.c`, `su_mutex`), so they will hardly do better, and a hundred of them must not wait in full.
const PATIENCE_WHILE_STUCK: Duration = Duration::from_secs(1);

/// Attributes whose writing crashes the kernel while the backstore has no device yet (6.1: `target_configure_unmap_from_queue`
/// follows a null pointer, the writer is killed and its locks stay taken).
const NEED_A_DEVICE: [&str; 2] = ["attrib/emulate_tpu", "attrib/emulate_tpws"];

pub(super) struct Worker {
    configfs: Arc<dyn ConfigFs>,
    deadline: Duration,
    stuck: Vec<JoinHandle<()>>,
}

/// A run of ops on its way, as the one who waits for it sees it.
struct Lane {
    at: usize,
    run: Arc<Run>,
    thread: JoinHandle<()>,
    /// How many of its ops had begun when we last looked, and when that number last changed.
    begun: usize,
    since: Instant,
}

impl Worker {
    pub(super) fn new(configfs: Arc<dyn ConfigFs>, deadline: Duration) -> Self {
        Self { configfs, deadline, stuck: Vec::new() }
    }

    /// Performs several runs of ops that do not wait for one another, each in order, some of them at once. Tells what became of each
    /// by its place, in the order given.
    pub(super) fn perform_all(&mut self, runs: Vec<Vec<ConfigFsOp>>, mut ended: impl FnMut(usize, Result<(), Outcome>)) {
        let (sender, receiver) = channel();
        let mut waiting = runs.into_iter().enumerate();
        let mut lanes: Vec<Lane> = Vec::new();
        let mut results = BTreeMap::new();
        let mut told = 0;
        loop {
            lanes.extend(
                waiting
                    .by_ref()
                    .take(self.configfs.lanes().saturating_sub(lanes.len()))
                    .map(|(at, ops)| self.start(at, ops, &sender)),
            );
            self.stuck.retain(|thread| !thread.is_finished());
            let deadline = if self.stuck.is_empty() { self.deadline } else { self.deadline.min(PATIENCE_WHILE_STUCK) };
            let Some(next) = lanes.iter().map(|lane| lane.since + deadline).min() else { return };
            match receiver.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok((at, result)) => {
                    lanes.retain(|lane| lane.at != at);
                    results.insert(at, result);
                }
                Err(_) => {
                    for mut lane in std::mem::take(&mut lanes) {
                        if lane.is_late(deadline) {
                            results.insert(lane.at, Err(Outcome::Stuck(lane.leave(deadline))));
                            self.stuck.push(lane.thread);
                        } else {
                            lanes.push(lane);
                        }
                    }
                }
            }
            while let Some(result) = results.remove(&told) {
                ended(told, result);
                told += 1;
            }
        }
    }

    fn start(&self, at: usize, ops: Vec<ConfigFsOp>, sender: &Sender<Ended>) -> Lane {
        let run =
            Arc::new(Run { configfs: self.configfs.clone(), ops, begun: AtomicUsize::new(0), left: AtomicBool::new(false) });
        let (its, sender) = (run.clone(), sender.clone());
        let thread = thread::spawn(move || {
            let result = its.perform().map_err(Outcome::Failed);
            // Nobody waits for a run that was left.
            drop(sender.send((at, result)));
        });
        Lane { at, run, thread, begun: 0, since: Instant::now() }
    }
}

impl Lane {
    /// Whether no op has begun or ended for so long.
    fn is_late(&mut self, deadline: Duration) -> bool {
        let begun = self.run.begun.load(Ordering::Acquire);
        if begun > self.begun {
            (self.begun, self.since) = (begun, Instant::now());
        }
        self.since.elapsed() >= deadline
    }

    /// Gives it up, and says where it stands.
    fn leave(&self, deadline: Duration) -> String {
        self.run.left.store(true, Ordering::Release);
        let op = self.run.ops.get(self.begun.saturating_sub(1));
        let line = op.map(render).unwrap_or_default();
        format!("{line}: the kernel did not finish within {} s", deadline.as_secs_f32())
    }
}

/// A run's place and what became of it.
type Ended = (usize, Result<(), Outcome>);

/// Ops on their way, shared with the thread that performs them.
struct Run {
    configfs: Arc<dyn ConfigFs>,
    ops: Vec<ConfigFsOp>,
    /// How many have begun.
    begun: AtomicUsize,
    /// Set when nobody waits any more: the op that was stuck is the last one.
    left: AtomicBool,
}

impl Run {
    fn perform(&self) -> Result<(), String> {
        for op in &self.ops {
            if self.left.load(Ordering::Acquire) {
                return Ok(());
            }
            self.begun.fetch_add(1, Ordering::Release);
            let line = render(op);
            tracing::debug!(target: "barista::host", "op {line}");
            perform(&*self.configfs, op).map_err(|error| format!("{line}: {}", explain(op, &error)))?;
        }
        Ok(())
    }
}

fn perform(configfs: &dyn ConfigFs, op: &ConfigFsOp) -> io::Result<()> {
    match op {
        ConfigFsOp::Mkdir(path) => match configfs.mkdir(path) {
            Err(error) if is(&error, Errno::EEXIST) => configfs.list(path).map(drop),
            result => result,
        },
        ConfigFsOp::Rmdir(path) => fine_when_gone(configfs.rmdir(path)),
        ConfigFsOp::Unlink(path) => fine_when_gone(configfs.unlink(path)),
        ConfigFsOp::Write { path, value } => write(configfs, path, value),
        ConfigFsOp::WriteSecret { path, part, machine, file } => {
            let secrets = read_secrets(Path::new(file)).map_err(io::Error::other)?;
            let both = secrets.get(machine).ok_or_else(|| io::Error::other(format!("{file} has no [{machine}]")))?;
            match part {
                SecretPart::User => configfs.write(path, both.user()),
                SecretPart::Secret => configfs.write(path, both.secret.expose()),
            }
        }
        ConfigFsOp::Symlink { target, link } => match configfs.symlink(target, link) {
            Err(error) if is(&error, Errno::EEXIST) => match configfs.read_link(link) {
                Ok(there) if there == *target && is_dead(configfs, link) => {
                    configfs.unlink(link)?;
                    configfs.symlink(target, link)
                }
                Ok(there) if there == *target => Ok(()),
                _ => Err(error),
            },
            result => result,
        },
    }
}

/// A backstore can be enabled once only (EEXIST), so its `enable` is read before it is written.
fn write(configfs: &dyn ConfigFs, path: &str, value: &str) -> io::Result<()> {
    if path.ends_with("/enable") && configfs.read(path)? == value {
        return Ok(());
    }
    if let Some(backstore) = NEED_A_DEVICE.iter().find_map(|attribute| path.strip_suffix(attribute))
        && configfs.read(&format!("{backstore}enable"))? != "1"
    {
        return Err(io::Error::other("the backstore is not enabled, and this write would crash the kernel"));
    }
    configfs.write(path, value)
}

/// A mapped LUN whose portal group's LUN lost its link maps nothing, even after that one is linked anew: the kernel then prints an
/// empty line for its `write_protect`. Such a link counts as not being there.
fn is_dead(configfs: &dyn ConfigFs, link: &str) -> bool {
    let directory = link.rsplit_once('/').map_or("", |(directory, _)| directory);
    configfs.read(&format!("{directory}/write_protect")).is_ok_and(|text| text.is_empty())
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

fn fine_when_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is(&error, Errno::ENOENT) => Ok(()),
        result => result,
    }
}

/// The kernel's number with what it means here: the errno table of LIO is not that of files.
fn explain(op: &ConfigFsOp, error: &io::Error) -> String {
    let rule = match (op, error.raw_os_error().map(Errno::from_raw)) {
        (ConfigFsOp::Write { path, .. }, Some(Errno::EBUSY)) if path.ends_with("enable") => "something else holds the device",
        (ConfigFsOp::Write { path, .. }, Some(Errno::EEXIST)) if path.ends_with("control") => "the backstore has its device open",
        (ConfigFsOp::Write { path, .. }, Some(Errno::EACCES)) if path.ends_with("enable") => "the device is read-only",
        (ConfigFsOp::Write { path, .. }, Some(Errno::EINVAL)) if path.contains("/wwn/") || path.contains("/attrib/") => {
            "the value is not allowed, or a LUN still leads to the backstore"
        }
        (ConfigFsOp::Write { .. }, Some(Errno::EOVERFLOW)) => "the value is too long",
        (ConfigFsOp::Rmdir(_), Some(Errno::EBUSY)) => "a link still leads to it",
        (ConfigFsOp::Rmdir(_), Some(Errno::ENOTEMPTY)) => "it still holds other objects",
        (ConfigFsOp::Rmdir(_), Some(Errno::EPERM)) => "it belongs to the kernel",
        (ConfigFsOp::Symlink { .. }, Some(Errno::ENODEV)) => "the backstore is not enabled",
        (ConfigFsOp::Symlink { .. }, Some(Errno::EEXIST | Errno::EINVAL)) => "another link is there",
        _ => return error.to_string(),
    };
    format!("{error}: {rule}")
}
