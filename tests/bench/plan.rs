//! Plans of a thousand and of ten thousand machines with two entries each, against a host where they all exist.
//!
//! `cargo bench --bench plan`. The host's state is the fake's after one apply of a small site, repeated for every machine of
//! the large one, so that the observation has the shape of a real one. Prints the time and the memory of one plan, and the
//! ratio of the large to the small: linear is 10.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark measures and prints"
)]

#[path = "../it/room.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod room;

#[path = "benchkit/large.rs"]
mod large;

use barista::names;
use barista::observed::{Observation, Seen};
use barista::plan::{Prepared, Step};
use large::large;
use room::{Room, cafe, compute, prepare};
use serde_json::{Map, Value};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Plans of each site that are timed; the middle one counts, for the best of a small site is one that found its cache warm.
const RUNS: usize = 21;

/// Names a case on the command line of its process.
const CASE: &str = "--machines";

/// The entries of every machine.
const BOOT: &str = "\"alpha\", \"beta\"";

/// The machine whose objects are repeated.
const SAMPLE: &str = "pc01";

fn main() {
    let words: Vec<String> = std::env::args().skip_while(|word| word != CASE).collect();
    if let [_, machines, observed] = words.as_slice() {
        Case::new(machines.parse().expect("a number"), Path::new(observed)).run();
        return;
    }
    let room = Room::new();
    let small = cafe(1);
    room.settle(&small);
    let sample = room.observe(&prepare(&small));
    // Each in a process of its own, which has made nothing but what a planner finds.
    let [thousand, ten_thousand]: [f64; 2] = [1_000, 10_000].map(|machines: usize| {
        let observation = repeat(&sample, &prepare(&large(machines, BOOT)));
        let path = room.state.path().join("observed.json");
        std::fs::write(&path, serde_json::to_vec(&observation).expect("serializes")).expect("writable");
        drop(observation);
        let program = std::env::current_exe().expect("a program");
        let path = path.to_str().expect("UTF-8");
        let run = Command::new(program).args([CASE, &machines.to_string(), path]).stderr(Stdio::inherit()).output();
        let said = run.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).expect("runs");
        print!("{said}");
        let time = said.split(": ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        time.unwrap_or_else(|| panic!("{machines} machines were not planned"))
    });
    let ratio = ten_thousand / thousand;
    println!("10,000 machines take {ratio:.1} times as long as 1,000");
}

/// A site and its host.
struct Case {
    prepared: Prepared,
    observation: Observation,
    machines: usize,
}

impl Case {
    fn new(machines: usize, observed: &Path) -> Self {
        let prepared = prepare(&large(machines, BOOT));
        let text = std::fs::read(observed).expect("is there");
        let mut observation: Observation = serde_json::from_slice(&text).expect("the same shape");
        // As an observer does.
        if let Seen::Present(lio) = &mut observation.lio {
            lio.share_attributes();
        }
        Self { prepared, observation, machines }
    }

    fn run(&self) {
        let before = peak_kib();
        let mut times: Vec<Duration> = (0..RUNS).map(|_| self.plan()).collect();
        times.sort();
        println!(
            "{} machines, 2 entries each: {:.1} ms, 0 changes; memory {} MiB, of which {} MiB before planning",
            self.machines,
            times[times.len() / 2].as_secs_f64() * 1e3,
            peak_kib() / 1024,
            before / 1024
        );
    }

    fn plan(&self) -> Duration {
        let start = Instant::now();
        let plan = compute(&self.prepared, &self.observation);
        let time = start.elapsed();
        let open = plan.open().count();
        assert_eq!(open, 0, "the repeated host is not what the site says: {:?}", plan.open().next());
        time
    }
}

/// The sample's objects under every machine's name, with device numbers, UUIDs and serials of their own.
fn repeat(sample: &Observation, prepared: &Prepared) -> Observation {
    let text = serde_json::to_value(sample).expect("serializes");
    let machines: Vec<Copies> = (prepared.desired.room.machines.keys().enumerate())
        .map(|(number, machine)| Copies {
            number: number as u64,
            machine: machine.to_string(),
            serials: ["alpha", "beta", "games"]
                .map(|image| (image, names::serial(&prepared.desired.site, machine, &image.parse().expect("legal")))),
        })
        .collect();
    let mut observation: Observation = serde_json::from_value(spread(&text, &machines)).expect("the same shape");
    let devices = observation.vg.present().into_iter().flat_map(|vg| vg.lvs.values()).filter_map(|lv| lv.device);
    observation.written = devices.map(|(major, minor)| (format!("{major}:{minor}"), 0)).collect();
    // What is published is what a plan for this host publishes.
    observation.published = Seen::Absent;
    let plan = compute(prepared, &observation);
    let table =
        plan.steps.iter().find_map(|step| if let Step::Publish { table, .. } = step { Some(table.render()) } else { None });
    observation.published = Seen::Present(table.expect("is published"));
    observation
}

/// One machine that gets copies of all that the sample has.
struct Copies {
    number: u64,
    machine: String,
    serials: [(&'static str, String); 3],
}

/// Every entry that is the sample's once for each machine.
fn spread(value: &Value, machines: &[Copies]) -> Value {
    match value {
        Value::Object(fields) => {
            let mut all = Map::new();
            for (key, value) in fields {
                if is_of_sample(key) {
                    all.extend(machines.iter().map(|copies| (copies.text(key), copies.copy(key, value))));
                } else {
                    all.insert(key.clone(), spread(value, machines));
                }
            }
            Value::Object(all)
        }
        other => other.clone(),
    }
}

/// Whether a key names something of the sample's: by its name, or by the number of a device, of which it has nearly all.
fn is_of_sample(key: &str) -> bool {
    key.contains(SAMPLE)
}

impl Copies {
    fn text(&self, text: &str) -> String {
        let renamed = text.replace(SAMPLE, &self.machine).replace("192.168.77.1:", "10.0.0.1:");
        let Some((number, rest)) = renamed.strip_prefix("iblock_").and_then(|rest| rest.split_once('/')) else { return renamed };
        let number: u64 = number.parse().expect("a number");
        format!("iblock_{}/{rest}", number + 100_000 + self.number * 64)
    }

    fn copy(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::String(text) if key == "uuid" => format!("{text}-{}", self.number).into(),
            Value::String(text) => self.text(text).into(),
            Value::Array(numbers) if key == "device" => {
                let [major, minor] = [0, 1].map(|at| numbers[at].as_u64().expect("a number"));
                vec![major, minor + 100 + self.number * 64].into()
            }
            Value::Array(items) => items.iter().map(|item| self.copy("", item)).collect(),
            Value::Object(fields) => {
                let mut copy: Map<String, Value> =
                    fields.iter().map(|(key, value)| (self.text(key), self.copy(key, value))).collect();
                if let Some(serial) = copy.get_mut("serial") {
                    let (_, own) = self.serials.iter().find(|(image, _)| key.contains(&format!(".{image}."))).expect("an image");
                    *serial = own.clone().into();
                }
                copy.into()
            }
            other => other.clone(),
        }
    }
}

/// The most memory this process has held so far.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
