//! Runs a seed, and tells the story of one that broke a promise, with all left out that it does without.

use crate::bite::Bite;
use crate::world::{DAY, HOUR, Options, World};
use crate::{disturb, invariants};

/// A promise that was broken.
pub struct Broken {
    pub seed: u64,
    pub what: String,
    pub story: Vec<String>,
    pub options: Options,
}

pub fn options(seed: u64, days: u64, bite: Option<Bite>) -> Options {
    let machines = 8;
    let mut disturbances = disturb::draw(seed, days, machines);
    disturbances.extend(bite.into_iter().flat_map(|bite| bite.provocation(days)));
    disturbances.sort_by_key(|(at, _)| *at);
    Options { seed, days, machines, is_auto: true, disturbances, bite, is_loud: false }
}

/// Hours after the last fault: a bet on a seat that was lost with others takes a day, and what comes of it a while.
const AFTER: u64 = 27;

/// The hours of a run.
pub fn simulated(days: u64) -> u64 {
    days * 24 + AFTER
}

/// Runs a café to its end; what was broken first, if anything was.
pub fn run(options: Options) -> Option<Broken> {
    let sim = World::new(options.clone());
    let days = options.days;
    sim.run_until(days * DAY + 6 * HOUR);
    disturb::calm(&sim);
    disturb::everything_off(&sim);
    sim.run_for(AFTER * HOUR);
    if sim.lock().broken.is_none() {
        invariants::at_the_end(&sim);
    }
    if sim.lock().broken.is_none() {
        disturb::every_machine_boots(&sim);
    }
    let mut inner = sim.lock();
    if std::env::var("SIM_COUNTS").is_ok() {
        println!("seed {}: {:?}", options.seed, inner.counts);
    }
    let what = inner.broken.take()?;
    let story = inner.story.iter().cloned().collect();
    Some(Broken { seed: options.seed, what, story, options })
}

/// All of what happened in a run that was kept of it.
pub fn whole(options: Options) -> Vec<String> {
    let sim = World::new(options.clone());
    sim.run_until(options.days * DAY);
    let inner = sim.lock();
    inner.story.iter().cloned().chain([format!("{:?} {:?}", inner.counts, inner.broken)]).collect()
}

/// Leaves out by halves what the failure does without, and tells what is left.
pub fn shrunk(first: Broken, days: u64, bite: Option<Bite>) -> String {
    let mut best = first;
    let mut size = best.options.disturbances.len().div_ceil(2);
    let mut runs = if std::env::var("SIM_NO_SHRINK").is_ok() { 60 } else { 0 };
    while size >= 1 && runs < 60 {
        let mut at = 0;
        while at < best.options.disturbances.len() && runs < 60 {
            let mut fewer = best.options.clone();
            let end = (at + size).min(fewer.disturbances.len());
            fewer.disturbances.drain(at..end);
            fewer.is_loud = false;
            runs += 1;
            match run(fewer) {
                Some(broken) if kind(&broken.what) == kind(&best.what) => best = broken,
                _ => at += size,
            }
        }
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
    let last = best.story.len().saturating_sub(45);
    format!(
        "seed {} breaks a promise: {}\nSIM_SEED={} SIM_DAYS={days} tells all of it{}\nwhat it takes: {:#?}\n{}\n",
        best.seed,
        best.what,
        best.seed,
        bite.map_or_else(String::new, |bite| format!(" (with {bite:?})")),
        best.options.disturbances,
        best.story[last..].join("\n"),
    )
}

/// What was broken, without names and numbers.
fn kind(what: &str) -> String {
    what.split_whitespace()
        .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || ",'`".contains(c)))
        .collect::<Vec<_>>()
        .join(" ")
}
