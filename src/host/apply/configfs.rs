//! Carries out changes in configfs, each with a deadline.
//!
//! **Invariant:** doing what is done already is fine, and doing it to something else of the same name is not; an op that the
//! kernel does not finish in time is left behind in its thread and never waited for again.
#![expect(clippy::disallowed_methods, reason = "effect room: a thread that may block in the kernel")]

use crate::host::{ConfigFs, read_secrets};
use crate::plan::{ConfigFsOp, Op, Outcome, SecretPart, render_op};
use nix::errno::Errno;
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::channel,
    },
    thread::{self, JoinHandle},
    time::Duration,
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

impl Worker {
    pub(super) fn new(configfs: Arc<dyn ConfigFs>, deadline: Duration) -> Self {
        Self { configfs, deadline, stuck: Vec::new() }
    }

    /// Performs ops in order, in one thread of their own; the first that fails or does not end is the outcome.
    pub(super) fn perform(&mut self, ops: &[ConfigFsOp]) -> Result<(), Outcome> {
        let run = Arc::new(Run {
            configfs: self.configfs.clone(),
            ops: ops.to_vec(),
            begun: AtomicUsize::new(0),
            left: AtomicBool::new(false),
        });
        let (sender, receiver) = channel();
        let its = run.clone();
        let thread = thread::spawn(move || drop(sender.send(its.perform())));
        self.stuck.retain(|thread| !thread.is_finished());
        let deadline = if self.stuck.is_empty() { self.deadline } else { self.deadline.min(PATIENCE_WHILE_STUCK) };
        loop {
            let begun = run.begun.load(Ordering::Acquire);
            match receiver.recv_timeout(deadline) {
                Ok(result) => return result.map_err(Outcome::Failed),
                Err(_) if run.begun.load(Ordering::Acquire) > begun => {}
                Err(_) => {
                    run.left.store(true, Ordering::Release);
                    self.stuck.push(thread);
                    let line =
                        ops.get(begun.saturating_sub(1)).map(|op| render_op(&Op::ConfigFs(op.clone()))).unwrap_or_default();
                    return Err(Outcome::Stuck(format!("{line}: the kernel did not finish within {} s", deadline.as_secs_f32())));
                }
            }
        }
    }
}

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
            let line = render_op(&Op::ConfigFs(op.clone()));
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
