//! What an agent costs that has nothing to do, and how soon a push is done, on 300 seats of the fakes.
//!
//! `cargo bench --bench agent`. LVM and the kernel are the fakes', which answer at once but not for nothing: what they take is in each
//! figure, but in that of the look, which is made from what was read of them before. Prints
//!
//! - the idle look: the processor time from LVM's report as text, the targets as they were read, and the commit's files, to a plan
//!   without changes;
//! - the idle agent: its share of one processor for a minute, and what its process grew by beside the fakes;
//! - pushes, from git's end to the status that says it is done: one that adds a comment, one that gives one machine another image.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark measures and prints"
)]

#[path = "../it/push/git.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod git;
#[path = "benchkit/large.rs"]
mod large;
#[path = "../it/room.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod room;

use barista::agent::run::{Options, run};
use barista::agent::wakeup::Wakeup;
use barista::host::fake::FakeHost;
use barista::host::{Command, Kernel, RunDir, Scope, System, look};
use barista::observed::{DiskIo, LV_FIELDS, REPORT_OPTIONS, Seen, VG_FIELDS, parse_groups};
use barista::plan;
use barista::site::{Entry, Tree, load};
use git::Work;
use jiff::Timestamp;
use large::large;
use room::{Files, Room, compute, prepare};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const SEATS: usize = 300;
const BOOT: &str = "\"alpha\"";
const LOOKS: usize = 21;
const IDLE: Duration = Duration::from_secs(60);
const PUSHES: usize = 5;

/// The fake's kernel, with time that passes by itself.
struct Clocked(FakeHost, Instant);

impl Kernel for Clocked {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    fn boottime(&self) -> Duration {
        self.0.boottime() + self.1.elapsed()
    }
    fn has_carrier(&self, interface: &str) -> bool {
        self.0.has_carrier(interface)
    }
    fn boot_id(&self) -> String {
        self.0.boot_id()
    }
    fn has_configfs(&self) -> bool {
        self.0.has_configfs()
    }
    fn disk_io(&self, device: (u32, u32)) -> Seen<DiskIo> {
        self.0.disk_io(device)
    }
    fn is_root(&self) -> bool {
        self.0.is_root()
    }
}

fn main() {
    let room = Room::new();
    let files = large(SEATS, BOOT);
    room.settle(&files);
    idle_look(&room, &files);
    let work = Work::new();
    let repository = work.root.path().join("cafe.git");
    work.git(&["init", "-q", "--bare", "-b", "main", repository.to_str().expect("UTF-8")]);
    work.git(&["remote", "add", "cafe", repository.to_str().expect("UTF-8")]);
    let run_dir = work.root.path().join("run");
    let state = room.state.path().to_owned();
    let options =
        Options { repo: repository, state: state.clone(), run_dir: RunDir::new(run_dir.clone()), run: run_dir, program: None };
    let system = System { kernel: Arc::new(Clocked(room.host.clone(), Instant::now())), ..room.host.system() };
    let wakeup = Wakeup::default();
    let before = resident();
    push(&work, &files, "open");
    thread::scope(|scope| {
        let agent = scope.spawn(|| run(&options, &system, &wakeup));
        until_served(&state, &head(&work));
        idle(before);
        pushes(&work, &state, files);
        wakeup.stop();
        agent.join().expect("no panic").expect("stops well");
    });
}

/// A look at which nothing is to be done, from what was read.
fn idle_look(room: &Room, files: &Files) {
    let prepared = prepare(files);
    let scope = Scope::of(&prepared, room.state.path());
    let report = report(room);
    let observation = room.observe(&prepared);
    let tree =
        || Tree { entries: files.iter().map(|(path, text)| (path.clone(), Entry::File(text.clone().into_bytes()))).collect() };
    let mut known = observation.occupancy.clone().expect("the agent looks");
    let (trees, system): (Vec<Tree>, System) = ((0..LOOKS).map(|_| tree()).collect(), room.host.system());
    let mut times: Vec<Duration> = Vec::new();
    for tree in trees {
        let mut observation = observation.clone();
        let begun = cpu();
        let site = load(&tree).site.expect("is right");
        let prepared = plan::prepare(&site).expect("is right");
        let (vg, _) = parse_groups(&report, "cafe", "barista.site=cat").expect("reads");
        observation.vg = Seen::Present(vg.expect("is there"));
        known = known.after(&look(&system, &scope, &observation).expect("is one"), SEATS);
        observation.occupancy = Some(known.clone());
        let plan = compute(&prepared, &observation);
        times.push(cpu() - begun);
        assert!(plan.is_converged(), "{}", plan::render_text(&plan));
    }
    times.sort();
    println!("an idle look at {SEATS} seats: {:.1} ms of processor time (asked: 20)", millis(times[LOOKS / 2]));
}

/// All of LVM's in its own words.
fn report(room: &Room) -> String {
    let fields = format!("{VG_FIELDS},{LV_FIELDS}");
    let argv = ["lvs"].into_iter().chain(REPORT_OPTIONS).chain(["-o", &fields]);
    room.host.system().commands.succeed(&Command::new(argv, Duration::from_secs(9))).expect("reports").stdout
}

fn idle(before: u64) {
    // What it does at its start is over.
    thread::sleep(Duration::from_secs(15));
    let (begun, at) = (cpu(), Instant::now());
    thread::sleep(IDLE);
    let share = (cpu() - begun).as_secs_f64() / at.elapsed().as_secs_f64();
    println!(
        "an idle agent of {SEATS} seats: {:.2} % of one processor, the fakes' part in it (asked: 0.5); {} MiB beside {before} of the fakes \
         (asked: 40)",
        share * 100.0,
        resident().saturating_sub(before)
    );
}

fn pushes(work: &Work, state: &Path, mut files: Files) {
    let mut nothing = Vec::new();
    for number in 0..PUSHES {
        let site = files["site.toml"].clone() + &format!("# {number}\n");
        files.insert("site.toml".into(), site);
        nothing.push(timed(work, state, &files));
    }
    let mut one = Vec::new();
    for number in 0..PUSHES {
        let row = files["machines/row-0.toml"].clone();
        let machine = format!("name = \"m{number:05}\"\n");
        files.insert("machines/row-0.toml".into(), row.replace(&machine, &format!("{machine}boot = [\"beta\"]\n")));
        one.push(timed(work, state, &files));
    }
    for (what, mut times, asked) in [("changes nothing", nothing, 300), ("changes one machine", one, 1000)] {
        times.sort();
        println!(
            "a push that {what}: done {:.0} ms after git's end, {:.0} at most (asked: {asked})",
            millis(times[PUSHES / 2]),
            millis(times[PUSHES - 1])
        );
    }
}

fn timed(work: &Work, state: &Path, files: &Files) -> Duration {
    push(work, files, "change");
    let begun = Instant::now();
    until_served(state, &head(work));
    begun.elapsed()
}

fn push(work: &Work, files: &Files, subject: &str) {
    files.iter().for_each(|(path, text)| work.write(path, text));
    work.commit(subject);
    work.git(&["push", "-q", "cafe", "HEAD:main"]);
}

fn head(work: &Work) -> String {
    work.git(&["rev-parse", "HEAD"])
}

/// Waits until the status document says that a commit is served.
fn until_served(state: &Path, commit: &str) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let text = fs::read_to_string(state.join("status.json")).unwrap_or_default();
        let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        if status["serving"]["revision"]["id"] == *commit {
            return;
        }
        assert!(Instant::now() < deadline, "{commit} is not served: {text}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The processor time of this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What this process holds of the memory, in MiB.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("is there");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("is told");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") / 1024
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
