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

use barista::observed::{Observation, Seen, Tags};
use barista::plan::Prepared;
use room::{Files, Room, cafe, compute, prepare};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Plans of each site that are timed; the middle one counts, for the best of a small site is one that found its cache warm.
const RUNS: usize = 21;

/// The machine whose objects are repeated.
const SAMPLE: &str = "pc01";

fn main() {
    let room = Room::new();
    let small = cafe(1);
    room.settle(&small);
    let sample = room.observe(&prepare(&small));
    let mut cases = [1_000, 10_000].map(|machines| Case::new(&sample, machines));
    // By turns, so that what else the computer does hits both.
    for _ in 0..RUNS {
        cases.iter_mut().for_each(Case::run);
    }
    for case in &cases {
        println!(
            "{} machines, 2 entries each: {:.1} ms, 0 changes; memory {} MiB, of which {} MiB before planning",
            case.prepared.desired.room.machines.len(),
            case.middle() * 1e3,
            case.peak / 1024,
            case.before / 1024
        );
    }
    let [thousand, ten_thousand] = cases.map(|case| case.middle());
    println!("10,000 machines take {:.1} times as long as 1,000", ten_thousand / thousand);
}

/// A site, its host, and what planning has taken so far.
struct Case {
    prepared: Prepared,
    observation: Observation,
    times: Vec<Duration>,
    /// The process's peak memory before and after the first plan, in KiB.
    before: u64,
    peak: u64,
}

impl Case {
    /// Plans once, before a larger case can raise the peak.
    fn new(sample: &Observation, machines: usize) -> Self {
        let prepared = prepare(&large(machines));
        let observation = repeat(sample, &prepared);
        let mut case = Self { prepared, observation, times: Vec::new(), before: peak_kib(), peak: 0 };
        case.run();
        case.peak = peak_kib();
        case
    }

    fn run(&mut self) {
        let start = Instant::now();
        let plan = compute(&self.prepared, &self.observation);
        self.times.push(start.elapsed());
        let open = plan.open().count();
        assert_eq!(open, 0, "the repeated host is not what the site says");
    }

    /// The seconds of the middle run.
    fn middle(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort();
        times[times.len() / 2].as_secs_f64()
    }
}

fn large(machines: usize) -> Files {
    let mut files = cafe(1);
    files.insert("network/lan.toml".into(), "interface = \"br0\"\nmode = \"server\"\nsubnet = \"10.0.0.0/8\"\n".into());
    let site = files["site.toml"].replace("192.168.77.1", "10.0.0.1");
    files.insert("site.toml".into(), site);
    files.remove("machines/row.toml");
    for file in 0..machines.div_ceil(1000) {
        let mut text = "[defaults]\nboot = [\"alpha\", \"beta\"]\n".to_owned();
        for number in (file * 1000..machines).take(1000) {
            let [high, low] = [number >> 8, number & 255];
            text.push_str(&format!(
                "[[machine]]\nname = \"m{number:05}\"\nmac = \"52:54:00:01:{high:02x}:{low:02x}\"\nip = \"10.1.{high}.{low}\"\n"
            ));
        }
        files.insert(format!("machines/row-{file}.toml"), text);
    }
    files
}

/// The sample's objects under every machine's name, with device numbers and serials of their own.
fn repeat(sample: &Observation, prepared: &Prepared) -> Observation {
    let mut observation = sample.clone();
    let (Seen::Present(vg), Seen::Present(lio)) = (&mut observation.vg, &mut observation.lio) else { panic!("no host") };
    let (sample_vg, sample_lio) = (vg.clone(), lio.clone());
    vg.lvs.retain(|name, _| !name.contains(SAMPLE));
    (lio.backstores, lio.targets) = Default::default();
    let storage = prepared.desired.storage.as_ref().expect("disks");
    let luns = storage.targets.values().flat_map(|target| target.luns.values());
    let serials: BTreeMap<&str, &str> = luns.map(|lun| (lun.name.as_str(), lun.serial.as_str())).collect();
    let mut minor = 1000;
    for (number, machine) in prepared.desired.room.machines.keys().enumerate() {
        let renamed = |text: &str| text.replace(SAMPLE, machine.as_str());
        let shift = |device: Option<(u32, u32)>| device.map(|(major, own)| (major, own + minor));
        for (name, lv) in sample_vg.lvs.iter().filter(|(name, _)| name.contains(SAMPLE)) {
            let mut lv = lv.clone();
            lv.tags = Tags::parse(&renamed(&lv.tags.iter().collect::<Vec<_>>().join(",")));
            lv.device = shift(lv.device);
            vg.lvs.insert(renamed(name), lv);
        }
        let path_of = |path: &str| {
            format!(
                "iblock_{}/{}",
                200_000 + number * 8 + sample_lio.backstores.range(..path.to_owned()).count(),
                renamed(path.split_once('/').expect("a path").1)
            )
        };
        for (path, backstore) in &sample_lio.backstores {
            let mut backstore = backstore.clone();
            backstore.device = shift(backstore.device);
            let name = path_of(path).split_once('/').expect("a path").1.to_owned();
            backstore.serial = serials[name.as_str()].to_owned();
            lio.backstores.insert(path_of(path), backstore);
        }
        for (name, target) in &sample_lio.targets {
            let mut target = target.clone();
            for tpg in target.tpgs.values_mut() {
                tpg.acls = tpg.acls.iter().map(|(initiator, acl)| (renamed(initiator), acl.clone())).collect();
                tpg.portals = [storage.portal].into();
                for (_, path) in tpg.luns.values_mut().filter_map(|lun| lun.link.as_mut()) {
                    *path = path_of(path);
                }
            }
            lio.targets.insert(renamed(name), target);
        }
        minor += 16;
    }
    observation.published = Seen::Present(prepared.table.render());
    observation
}

/// The most memory this process has held so far.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
