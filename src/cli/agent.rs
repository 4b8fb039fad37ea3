//! `barista agent`: keeps this host at the followed branch.

use super::{
    arguments::{RunArgument, StateArgument},
    failure::{Exit, Failure},
    source::explain,
};
use crate::agent::{
    notify,
    run::{self, AgentError, Options},
    wakeup::Wakeup,
};
use crate::host::{RunDir, System, finish_programs};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// This very program, also after an upgrade has put another in its place (proc(5)).
pub(super) const THIS_PROGRAM: &str = "/proc/self/exe";

/// Arguments of `agent`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The repository to follow; its HEAD names the branch
    #[arg(long, value_name = "GITDIR")]
    pub repo: PathBuf,
    #[command(flatten)]
    pub state: StateArgument,
    #[command(flatten)]
    pub run: RunArgument,
}

/// Runs `agent` until it is told to stop.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = Wakeup::default();
        let agent = start(arguments, &stop);
        tokio::pin!(agent);
        tokio::select! {
            ended = &mut agent => return ended,
            () = told_to_stop() => stop.stop(),
        }
        // What it has begun is carried to its end, and systemd is told for as long; the programs' own deadlines bound that.
        agent.await
    })
}

/// The agent's loop, which blocks, in a thread of its own.
#[expect(clippy::disallowed_methods, reason = "effect: the agent's thread")]
pub(super) async fn start(arguments: &Arguments, stop: &Wakeup) -> Result<Exit, Failure> {
    let state = arguments.state.state.clone();
    let run_dir = RunDir::of_process(&state);
    let program = Some(PathBuf::from(THIS_PROGRAM));
    let options = Options { repo: arguments.repo.clone(), run: arguments.run.run.clone(), run_dir, state, program };
    let stop = stop.clone();
    let ended = tokio::task::spawn_blocking(move || {
        let ended = run::run(&options, &System::real(), &stop);
        // A version may be filled beside the loop: what changes devices for it comes to its end too.
        finish_programs(notify::still_ends);
        ended
    });
    let ended = ended.await;
    match ended.map_err(|fault| anyhow::anyhow!("the agent's loop broke down: {fault}"))? {
        Ok(()) => Ok(Exit::Done),
        Err(AgentError::Repository(error)) => Err(explain(error)),
        Err(AgentError::InstanceState(error)) => {
            let hint = error.hint();
            Err(Failure::Error { error: error.into(), hint })
        }
    }
}

/// Waits for SIGTERM, as systemd sends it, or for Ctrl-C.
pub(super) async fn told_to_stop() {
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::warn!("signals cannot be caught here: the program ends where it stands when it is told to");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}
