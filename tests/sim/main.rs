//! Whole days of simulated cafés: machines that boot, work, vanish and come back; operators that push; faults and power cuts at every
//! effect. One seed is one run, to the byte.
//!
//! `SIM_SEEDS=1000 SIM_DAYS=3` makes more of it, `SIM_SEED=17` one run with all that happens in it.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests make files, tell stories and may panic"
)]

mod agent;
mod asks;
mod bite;
mod cafe;
mod disturb;
mod invariants;
mod machines;
mod rng;
mod schedules;
mod story;
mod systems;
mod world;

use bite::Bite;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use story::{Broken, options, run};
use world::Options;

/// A café-day is a hundred thousand small strings; the C library's own allocator takes a fifth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds with two threads until one is broken or all are done; the first that is broken.
fn seeds(first: u64, count: u64, days: u64, bite: Option<Bite>) -> (Option<Broken>, u64) {
    let next = AtomicU64::new(first);
    let done = AtomicU64::new(0);
    let found = std::sync::Mutex::new(None::<Broken>);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count || found.lock().unwrap().as_ref().is_some_and(|found| found.seed < seed) {
                return;
            }
            // A seed that is broken anyhow shows nothing of a rule.
            let sound = |broken: &Broken| run(Options { bite: None, ..broken.options.clone() }).is_none();
            let broken = run(options(seed, days, bite)).filter(|broken| bite.is_none() || sound(broken));
            done.fetch_add(1, Ordering::Relaxed);
            if let Some(broken) = broken {
                let mut found = found.lock().unwrap();
                if found.as_ref().is_none_or(|found| seed < found.seed) {
                    *found = Some(broken);
                }
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let found = found.lock().unwrap().take();
    (found, done.into_inner())
}

#[test]
fn cafes_keep_their_promises() {
    let days = env("SIM_DAYS").unwrap_or(1);
    if let Some(seed) = env("SIM_SEED") {
        let mut options = options(seed, days, None);
        options.is_loud = true;
        if let Some(broken) = run(options) {
            panic!("{}", story::shrunk(broken, days, None));
        }
        return;
    }
    let begun = Instant::now();
    let first = env("SIM_FIRST").unwrap_or(1);
    if let Some(count) = env("SIM_ALL") {
        // One line for each seed that is broken.
        let next = AtomicU64::new(first);
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return;
                }
                if let Some(broken) = run(options(seed, days, None)) {
                    println!("seed {seed}: {}", broken.what);
                }
            }
        };
        std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
        println!("{} café-days in {:.1} s", story::simulated(days) * count / 24, begun.elapsed().as_secs_f64());
        return;
    }
    let (found, done) = seeds(first, env("SIM_SEEDS").unwrap_or(2), days, None);
    if let Some(broken) = found {
        panic!("{}", story::shrunk(broken, days, None));
    }
    println!("{} café-days in {:.1} s", story::simulated(days) * done / 24, begun.elapsed().as_secs_f64());
}

#[test]
fn a_seed_is_a_run_to_the_byte() {
    let story = |seed| story::whole(options(seed, 1, None));
    assert_eq!(story(7), story(7));
}

#[test]
#[ignore = "takes some minutes where it is built to be fast"]
fn each_rule_that_is_broken_is_found() {
    let all = [
        ("A", Bite::QuietForAMinute),
        ("B", Bite::QuietSinceBoot),
        ("F", Bite::StampsAreIgnored),
        ("K", Bite::HalfCopied),
        ("M", Bite::ClearedIsClean),
        ("N", Bite::HeldIsLowered),
        ("Q", Bite::OldGoesFirst),
    ];
    let only = std::env::var("SIM_BITE").ok();
    for (letter, bite) in all {
        if only.as_deref().is_some_and(|only| only != letter) {
            continue;
        }
        let (found, done) = seeds(1, 200, 2, Some(bite));
        let Some(broken) = found else { panic!("{letter} was not found in {done} seeds") };
        println!("{letter}: seed {} after {done} runs: {}", broken.seed, broken.what);
    }
}
