//! `barista serve`: answers booting machines from the published boot table.

use super::{
    agent::told_to_stop,
    arguments::{RunArgument, StateArgument},
    failure::{Exit, Failure},
};
use crate::agent::notify;
use crate::serve::{PrivilegeError, ServeOptions, drop_privileges, serve};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::future::Future;
use tokio::sync::oneshot;

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    state: StateArgument,
    #[command(flatten)]
    run: RunArgument,
    /// Who to become when started as root; root itself only if it is named here [default: barista]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// End when this process does, which has started it
    #[arg(long, value_name = "PID", hide = true)]
    parent: Option<i32>,
}

/// Runs `serve` until it is told to stop.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    // Before the runtime: its threads inherit what is left.
    drop_privileges(&arguments.state.state, arguments.user.as_deref()).map_err(explain)?;
    // After it, for another user's process forgets this (prctl(2), PR_SET_PDEATHSIG).
    if let Some(parent) = arguments.parent {
        end_with(parent)?;
    }
    // The other half is for the kernel, which does most of the work, and for TFTP's own thread; on two cores a second worker made
    // DHCP 1.1 times as fast, and HTTP's scripts 0.85 times.
    let workers = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    let ended = runtime.block_on(async {
        // There may be no table yet: the agent publishes it with the first commit, and nobody should wait for that at boot.
        notify::ready("waiting for the first boot table");
        let (opened, listening) = oneshot::channel();
        let serving = until(&arguments.state, &arguments.run, Some(opened), told_to_stop());
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => return ended,
            _ = listening => notify::status("serving"),
        }
        let ended = serving.await;
        notify::stopping();
        ended
    });
    // A thread that waits for a hanging disk keeps nobody from ending.
    runtime.shutdown_background();
    ended
}

/// Has the kernel tell this process to stop when the one that started it ends, however that ends.
fn end_with(parent: i32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    match getppid().map(Pid::as_raw_nonzero).is_some_and(|now| now.get() == parent) {
        true => Ok(()),
        false => Err(anyhow::anyhow!("process {parent}, which started this one, has ended").into()),
    }
}

/// Serves until `stop` completes.
async fn until(
    state: &StateArgument,
    run: &RunArgument,
    opened: Option<oneshot::Sender<crate::serve::Listening>>,
    stop: impl Future,
) -> Result<Exit, Failure> {
    let options = ServeOptions { run: run.run.clone(), ready: opened, alive: notify::alive, ..ServeOptions::new(&state.state) };
    match serve(options, stop).await {
        Ok(()) => Ok(Exit::Done),
        Err(error) => {
            let hint = error.hint();
            Err(match hint {
                Some(hint) => Failure::hinted(error, hint),
                None => error.into(),
            })
        }
    }
}

fn explain(error: PrivilegeError) -> Failure {
    let hint = match &error {
        PrivilegeError::NoSuchUser(_) => "make the user (systemd-sysusers), or leave --user out",
        PrivilegeError::NoUsualUser => {
            "make the user (barista init --systemd, then systemd-sysusers), name another with --user, or keep root with --user root"
        }
        PrivilegeError::NotRoot(_) => "leave --user out, or start it as root",
        PrivilegeError::Step { .. } => "start it as the user it is to run as, without --user",
    };
    Failure::hinted(error, hint)
}
