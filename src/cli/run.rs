//! `barista run`: agent and serve together, for a host without systemd or for a first look.
//!
//! Serving is a process of its own, `barista serve`, which gives root up before it reads a packet. **Invariant:** when one of the two
//! ends for good, the other is stopped in good order and the program ends: half a café that looks like a whole one is worse than
//! none. Serving never outlives the program, however that ends (tests/it/cli/run_command.rs).
#![expect(clippy::disallowed_methods, reason = "effect room: starts this program once more, and waits before it does so again")]

use super::{
    agent,
    failure::{Exit, Failure},
};
use crate::agent::wakeup::Wakeup;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::time::{Duration, Instant};
use tokio::{
    process::{Child, Command},
    sync::watch,
    time::{sleep, timeout},
};

/// Serving that has lasted this long was well, and its end is an accident: it is started anew.
const WELL: Duration = Duration::from_secs(10);

/// The pause before that.
const BEFORE_ANOTHER: Duration = Duration::from_secs(2);

/// How long serving may take to stop before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    #[command(flatten)]
    agent: agent::Arguments,
    /// Who the serving half becomes when started as root; root itself only if it is named here [default: barista]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// Runs both until one ends or it is told to stop.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // On this thread, which lives as long as the process: the kernel tells the child when the thread that started it ends.
    runtime.block_on(both(arguments))
}

async fn both(arguments: &Arguments) -> Result<Exit, Failure> {
    let stop = Wakeup::default();
    let (close, closed) = watch::channel(());
    let agent = agent::start(&arguments.agent, &stop);
    let serving = keep_serving(arguments, closed);
    until_both_end(agent, serving, agent::told_to_stop(), || {
        stop.stop();
        drop(close);
    })
    .await
}

/// Runs both halves until one ends for good or it is told to stop; then both are told so at once, and each is waited for while the other
/// winds up: the agent may carry a step out for minutes, and serving must neither go on meanwhile nor end unseen.
async fn until_both_end<T>(
    agent: impl Future<Output = Result<T, Failure>>,
    serving: impl Future<Output = Result<T, Failure>>,
    told: impl Future<Output = ()>,
    stop: impl FnOnce(),
) -> Result<T, Failure> {
    tokio::pin!(agent, serving);
    enum First<T> {
        Agent(Result<T, Failure>),
        Serve(Result<T, Failure>),
        Told,
    }
    let first = tokio::select! {
        ended = &mut agent => First::Agent(ended),
        ended = &mut serving => First::Serve(ended),
        () = told => First::Told,
    };
    stop();
    match first {
        First::Agent(ended) => ended.and(serving.await),
        First::Serve(ended) => ended.and(agent.await),
        First::Told => {
            let (agent, serving) = tokio::join!(agent, serving);
            agent.and(serving)
        }
    }
}

/// Keeps the serving half running until `closed` says so, or until it ends as soon as it was started.
async fn keep_serving(arguments: &Arguments, mut closed: watch::Receiver<()>) -> Result<Exit, Failure> {
    loop {
        let mut child = start(arguments)?;
        let begun = Instant::now();
        let status = tokio::select! {
            ended = child.wait() => ended?,
            _ = closed.changed() => return stop(&mut child).await,
        };
        // What it had to say it has said.
        let error = || anyhow::anyhow!("the serving half ended: {}", status);
        if begun.elapsed() < WELL {
            return Err(error().into());
        }
        tracing::error!("{}; it is started anew in {} s", error(), BEFORE_ANOTHER.as_secs());
        tokio::select! {
            () = sleep(BEFORE_ANOTHER) => {}
            _ = closed.changed() => return Ok(Exit::Done),
        }
    }
}

fn start(arguments: &Arguments) -> Result<Child, Failure> {
    let agent = &arguments.agent;
    let mut command = Command::new(agent::THIS_PROGRAM);
    command.arg0("barista").arg("serve").arg("--state").arg(&agent.state.state).arg("--run").arg(&agent.run.run);
    command.arg("--parent").arg(std::process::id().to_string());
    if let Some(user) = &arguments.user {
        command.arg("--user").arg(user);
    }
    // systemd hears of the service from this process alone. A Ctrl-C at the terminal is for this process, which tells the other.
    command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID").process_group(0);
    Ok(command.kill_on_drop(true).spawn()?)
}

/// Tells the serving half to stop, and waits for it.
async fn stop(child: &mut Child) -> Result<Exit, Failure> {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It is not waited for yet, so the number is still its own.
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
    }
    let Ok(ended) = timeout(PATIENCE, child.wait()).await else {
        child.kill().await?;
        return Err(anyhow::anyhow!("the serving half did not stop within {} s and was killed", PATIENCE.as_secs()).into());
    };
    match ended? {
        status if status.success() => Ok(Exit::Done),
        status => Err(anyhow::anyhow!("the serving half ended badly: {}", status).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::sync::Notify;

    #[test]
    fn serving_is_stopped_and_waited_for_while_the_agent_still_winds_up() {
        let (stopping, served, order) = (Notify::new(), Notify::new(), RefCell::new(Vec::new()));
        let agent = async {
            // As a step that takes minutes: it is over only when the serving half has long ended.
            served.notified().await;
            order.borrow_mut().push("agent");
            Ok(())
        };
        let serving = async {
            stopping.notified().await;
            order.borrow_mut().push("serve");
            served.notify_one();
            Ok(())
        };
        let both = until_both_end(agent, serving, async {}, || stopping.notify_one());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ended = runtime.block_on(async { timeout(Duration::from_secs(20), both).await });
        assert!(matches!(ended, Ok(Ok(()))));
        assert_eq!(*order.borrow(), ["serve", "agent"]);
    }

    #[test]
    fn what_ends_first_decides_what_is_said() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let fails = async { Err::<(), Failure>(anyhow::anyhow!("the serving half ended").into()) };
        let stopped = Notify::new();
        let agent = async {
            stopped.notified().await;
            Ok(())
        };
        let both = until_both_end(agent, fails, std::future::pending(), || stopped.notify_one());
        let ended = runtime.block_on(async { timeout(Duration::from_secs(20), both).await });
        assert!(matches!(ended, Ok(Err(_))));
    }
}
