//! `barista run`: agent and serve in one process, for a host without systemd or for a first look.
//!
//! **Invariant:** when one of the two ends, the other is stopped in good order and the program ends: half a café that looks
//! like a whole one is worse than none.

use super::{
    agent,
    failure::{Exit, Failure},
    serve,
};
use crate::agent::wakeup::Wakeup;
use tokio::sync::watch;

/// Runs both until one ends or it is told to stop.
pub(super) fn run(arguments: &agent::Arguments) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(both(arguments))
}

async fn both(arguments: &agent::Arguments) -> Result<Exit, Failure> {
    let stop = Wakeup::default();
    let (close, mut closed) = watch::channel(());
    let agent = agent::start(arguments, &stop);
    let serving = serve::until(&arguments.state, &arguments.run, None, async move { closed.changed().await });
    tokio::pin!(agent, serving);
    // What ended first, and what is still to be waited for.
    enum First {
        Agent(Result<Exit, Failure>),
        Serve(Result<Exit, Failure>),
        Told,
    }
    let first = tokio::select! {
        ended = &mut agent => First::Agent(ended),
        ended = &mut serving => First::Serve(ended),
        () = agent::told_to_stop() => First::Told,
    };
    stop.stop();
    drop(close);
    match first {
        First::Agent(ended) => ended.and(serving.await),
        First::Serve(ended) => ended.and(agent.await),
        First::Told => agent.await.and(serving.await),
    }
}
