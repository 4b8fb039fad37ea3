//! A café in memory for tests: a site's text, the fake host, a state directory, and an agent's looks and applies between them.

use barista::agent::occupancy::OccupancyMemory;
use barista::boot::table::BootTable;
use barista::host::commands::Commands;
use barista::host::fake::{Content, FakeHost};
use barista::host::{
    ApplyContext, CONFIGFS_DEADLINE, Command, Depth, Fills, GiveError, Kind, Scope, Silent, apply, look, observe, observe_to,
};
use barista::names::{BootNonce, Iqn, MachineName};
use barista::observed::{Observation, Seen, Waiting};
use barista::plan::assign::{self, Ask, Decision, Given, Wait};
use barista::plan::{self, Outcome, Plan, Prepared, Report, Revision, Targets};
use barista::site::{Entry, Tree, load};
use std::{cell::Cell, cell::RefCell, collections::BTreeMap, fs, time::Duration};

/// Files of a site by path.
pub type Files = BTreeMap<String, String>;

/// What every name of a target and an initiator begins with.
pub const PREFIX: &str = "iqn.2026-11.example.cat";

/// The initiator of the first machine.
pub const PC01: &str = "iqn.2026-11.example.cat:pc01";

/// The same for a [`hasty`] site.
pub const QUIET: Duration = Duration::from_secs(11 * 60);

/// Longer than the site's `quiet`: whoever said nothing for so long is off.
pub const NIGHT: Duration = Duration::from_secs(9 * 3600);

/// A café in memory.
pub struct Room {
    pub host: FakeHost,
    pub state: tempfile::TempDir,
    memory: RefCell<(String, OccupancyMemory)>,
    boots: Cell<u64>,
    waiting: RefCell<BTreeMap<MachineName, Waiting>>,
}

impl Room {
    /// A host with an empty volume group `cafe` of a tebibyte, and sources `alpha.raw`, `beta.raw`, `games.raw` of 256 KiB.
    pub fn new() -> Self {
        let room = Self::empty();
        room.host.add_vg("cafe", 1 << 40);
        room
    }

    /// The same without the group.
    pub fn empty() -> Self {
        let host = FakeHost::new();
        let boot_id = host.system().kernel.boot_id();
        let room = Self {
            host,
            state: tempfile::tempdir().expect("a directory"),
            memory: RefCell::new((boot_id.clone(), OccupancyMemory::new(&boot_id))),
            boots: Cell::new(0),
            waiting: RefCell::default(),
        };
        room.host.one_lane();
        for source in ["alpha.raw", "beta.raw", "games.raw"] {
            room.source(source, &vec![7; 256 << 10]);
        }
        room
    }

    pub fn source(&self, name: &str, bytes: &[u8]) {
        let store = self.state.path().join("images");
        fs::create_dir_all(&store).expect("writable");
        fs::write(store.join(name), bytes).expect("writable");
    }

    /// Looks at the host as the agent does, and remembers it.
    pub fn observe(&self, prepared: &Prepared) -> Observation {
        let (system, scope) = (self.host.system(), Scope::of(prepared, self.state.path()));
        let mut observation = observe(&system, &scope);
        let mut memory = self.memory.borrow_mut();
        if memory.0 != observation.boot_id {
            *memory = (observation.boot_id.clone(), OccupancyMemory::new(&observation.boot_id));
        }
        let seats = prepared.desired.room.machines.len();
        observation.occupancy = look(&system, &scope, &observation).map(|look| memory.1.take_in(&look, seats));
        observation.waiting = self.waiting.borrow().clone();
        observation
    }

    /// The agent starts anew and knows nothing.
    pub fn restart_agent(&self) {
        let boot_id = self.host.system().kernel.boot_id();
        *self.memory.borrow_mut() = (boot_id.clone(), OccupancyMemory::new(&boot_id));
        self.waiting.borrow_mut().clear();
    }

    /// Lets time pass, with a look every ten seconds, as an agent's; in long times as seldom as still counts.
    pub fn pass(&self, files: &Files, time: Duration) {
        let prepared = prepare(files);
        let step = if time < Duration::from_secs(300) { 10 } else { 30 };
        for _ in 0..time.as_secs().div_ceil(step) {
            self.host.advance(Duration::from_secs(step));
            self.observe(&prepared);
        }
    }

    pub fn plan(&self, files: &Files) -> Plan {
        let prepared = prepare(files);
        compute(&prepared, &self.observe(&prepared))
    }

    /// Runs a command on the host as its operator would.
    pub fn run(&self, line: &str) {
        let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let output = self.host.system().commands.run(&Command::new(&argv, Duration::from_secs(1))).expect("runs");
        assert_eq!(output.status, Some(0), "{line}: {}", output.stderr);
    }

    /// Observes, plans and applies, as the program does.
    pub fn apply(&self, files: &Files) -> (Plan, Report) {
        let prepared = prepare(files);
        let before = self.observe(&prepared);
        let plan = compute(&prepared, &before);
        let report = self.carry(&prepared, &plan);
        self.look_quickly(&prepared, &before, &plan);
        (plan, report)
    }

    /// Insists that a look which reads no more than a plan may have changed sees as much as one that reads everything.
    fn look_quickly(&self, prepared: &Prepared, before: &Observation, plan: &Plan) {
        let Some(known) = before.lio.present().and_then(|lio| plan::untouched(lio, plan)) else { return };
        let (system, scope) = (self.host.system(), Scope::of(prepared, self.state.path()));
        let (quick, whole) = (observe_to(&system, &scope, Depth::Quick(&known)), observe(&system, &scope));
        assert_eq!(quick.lio, whole.lio, "after\n{}", plan::render_text(plan));
    }

    /// Carries a plan out, and keeps the journal of what is destroyed as the program does.
    pub fn carry(&self, prepared: &Prepared, plan: &Plan) -> Report {
        let system = self.host.system();
        let commands = Commands::new(&system, self.state.path());
        let run = || self.run_steps(prepared, plan);
        match prepared.desired.storage {
            Some(_) => commands.counted(plan, prepared.desired.policy.max_destroy, run),
            None => run(),
        }
    }

    fn run_steps(&self, prepared: &Prepared, plan: &Plan) -> Report {
        let context = ApplyContext {
            state: self.state.path().to_owned(),
            image_store: Scope::image_store(prepared, self.state.path()),
            configfs_deadline: CONFIGFS_DEADLINE,
            fills: Fills::Wait,
        };
        apply(&self.host.system(), plan, &context, &mut Silent)
    }

    /// Applies and insists that everything was done that was not held; the plan's text.
    pub fn carry_out(&self, files: &Files) -> String {
        let (plan, report) = self.apply(files);
        let plan = plan::render_text(&plan);
        for (_, subject, outcome) in &report.outcomes {
            assert_eq!(*outcome, Outcome::Done, "{subject}\n{plan}");
        }
        plan
    }

    /// Applies and insists that everything was done and nothing is left, nor held.
    pub fn settle(&self, files: &Files) {
        self.carry_out(files);
        assert_eq!(self.left(files), "No changes. The host matches test.\n");
        assert_eq!(self.host.crashes(), Vec::<String>::new());
    }

    /// What is left to do, in words. That a consent which was used consents to nothing any more is left out.
    pub fn left(&self, files: &Files) -> String {
        let mut plan = self.plan(files);
        plan.notes.retain(|note| note.about != "policy.may-destroy");
        plan::render_text(&plan)
    }

    /// The published table.
    pub fn table(&self) -> BootTable {
        let text = fs::read_to_string(self.state.path().join(barista::boot::table::PATH)).expect("published");
        BootTable::parse(&text).expect("a table")
    }

    /// What a new boot of a machine is told for an image.
    pub fn ask(&self, files: &Files, machine: &str, image: &str) -> Decision {
        self.ask_after(files, machine, image, Duration::ZERO)
    }

    /// The same, for one that has been waiting.
    pub fn ask_after(&self, files: &Files, machine: &str, image: &str, waited: Duration) -> Decision {
        let prepared = prepare(files);
        let observation = self.observe(&prepared);
        self.boots.set(self.boots.get() + 1);
        let (machine, image) = (machine.parse().expect("legal"), image.parse().expect("legal"));
        let boot = BootNonce::from_octets(self.boots.get().to_be_bytes());
        let ask = Ask { machine: &machine, image: &image, boot, waited };
        let decision = assign::decide(&prepared, &observation, &ask);
        let concerning = plan::concerning(&prepared, &observation, &machine, observation.offered.clone());
        assert_eq!(assign::decide(&prepared, &concerning, &ask), decision, "what concerns a machine is all that it depends on");
        decision
    }

    /// A machine boots an image; the target that its script names: one of every boot, or that of the side it is given.
    pub fn boot(&self, files: &Files, machine: &str, image: &str) -> String {
        if let Some(target) = self.fixed(machine, image) {
            return target.to_string();
        }
        let mut told = self.ask(files, machine, image);
        // A kept disk comes along once its machine is known to have left the disk it had: it waits a minute at most.
        for _ in 0..6 {
            if !matches!(told, Decision::Wait(Wait::Moving)) {
                break;
            }
            self.host.advance(Duration::from_millis(1));
            self.wait(machine, image);
            self.pass(files, Duration::from_secs(10));
            told = self.ask(files, machine, image);
        }
        match told {
            Decision::Give(given) => {
                self.give(machine, &given).expect("given");
                given.target.to_string()
            }
            other => panic!("{machine} boots {image} and is told {other:?}"),
        }
    }

    /// The boot that asked last is given what was decided.
    pub fn give(&self, machine: &str, given: &Given) -> Result<(), GiveError> {
        let boot = BootNonce::from_octets(self.boots.get().to_be_bytes());
        let name: MachineName = machine.parse().expect("legal");
        let system = self.host.system();
        barista::host::give(&system, &barista::host::offered::Record::new(&system, self.state.path()), &name, boot, given)?;
        self.waiting.borrow_mut().remove(&name);
        Ok(())
    }

    /// A machine says by its firmware's DISCOVER that it boots and waits.
    pub fn wait(&self, machine: &str, image: &str) {
        let heard = self.host.system().kernel.boottime().into();
        let (machine, image): (MachineName, barista::names::ImageName) =
            (machine.parse().expect("legal"), image.parse().expect("legal"));
        let mut waiting = self.waiting.borrow_mut();
        let images = &mut waiting.entry(machine).or_default().images;
        let known = images.get(&image).copied();
        images.extend(assign::newer_intent(known, Some(heard), None).map(|intent| (image, intent)));
    }

    /// A machine boots an image, its system logs in and writes a MiB to its system disk; its target.
    pub fn work(&self, files: &Files, machine: &str, image: &str) -> String {
        let target = self.boot(files, machine, image);
        let initiator = format!("{PREFIX}:{machine}");
        self.host.login(&target, &initiator).expect("logs in");
        self.host.write(&target, &initiator, 0, 1 << 20).expect("writes");
        self.observe(&prepare(files));
        target
    }

    /// The same, and then it is switched off; nobody knows that yet.
    pub fn use_seat(&self, files: &Files, machine: &str, image: &str) -> String {
        let target = self.work(files, machine, image);
        self.host.logout(&target, &format!("{PREFIX}:{machine}"));
        self.observe(&prepare(files));
        target
    }

    /// The targets of a machine and an image, in order.
    pub fn targets(&self, machine: &str, image: &str) -> Vec<String> {
        let start = format!("{PREFIX}:{machine}.{image}");
        let names = self.host.system().configfs.list("iscsi").unwrap_or_default();
        names.into_iter().map(|(name, _)| name).filter(|name| *name == start || name.starts_with(&format!("{start}."))).collect()
    }

    /// The only target of a machine and an image.
    pub fn target(&self, machine: &str, image: &str) -> String {
        let targets = self.targets(machine, image);
        assert_eq!(targets.len(), 1, "{targets:?}");
        targets[0].clone()
    }

    /// The target that the published table names for a kept disk.
    pub fn fixed(&self, machine: &str, image: &str) -> Option<Iqn> {
        let (machine, image): (MachineName, barista::names::ImageName) =
            (machine.parse().expect("legal"), image.parse().expect("legal"));
        let text = fs::read_to_string(self.state.path().join(barista::boot::table::PATH)).ok()?;
        let table = BootTable::parse(&text).expect("a table");
        table.machines.get(&machine)?.disks.get(&image)?.target.clone()
    }

    /// Whether a machine can log in to a target now.
    pub fn is_open(&self, target: &str, machine: &str) -> bool {
        let initiator = format!("{PREFIX}:{machine}");
        let is_open = self.host.login(target, &initiator).is_ok();
        if is_open {
            self.host.logout(target, &initiator);
        }
        is_open
    }

    /// The volume that a target shows as a LUN, and what is on it.
    pub fn disk(&self, target: &str, lun: u16) -> (String, Content) {
        let tree = self.host.system().configfs;
        let directory = format!("iscsi/{target}/tpgt_1/lun/lun_{lun}");
        let links = tree.list(&directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
        let (link, _) = links.into_iter().find(|(_, kind)| *kind == Kind::Link).expect("the LUN has a link");
        let path = tree.read_link(&format!("{directory}/{link}")).expect("a link");
        let volume = self.host.volume_of(path.trim_start_matches("core/")).expect("a volume");
        let name = volume.split_once('/').expect("vg/lv").1.to_owned();
        let content = self.host.content("cafe", &name).expect("is there");
        (name, content)
    }

    /// What stands in the volume group.
    pub fn volumes(&self, files: &Files) -> Vec<String> {
        match self.observe(&prepare(files)).vg {
            Seen::Present(vg) => vg.lvs.into_keys().collect(),
            other => panic!("{other:?}"),
        }
    }
}

/// The site of some files; panics with the findings when it has any of weight.
pub fn prepare(files: &Files) -> Prepared {
    let entries = files.iter().map(|(path, text)| (path.clone(), Entry::File(text.clone().into_bytes()))).collect();
    let checked = load(&Tree { entries });
    let findings: String = checked.findings.iter().map(|finding| format!("{finding}\n")).collect();
    let site = checked.site.unwrap_or_else(|| panic!("{findings}"));
    plan::prepare(&site).unwrap_or_else(|findings| panic!("{findings:?}"))
}

pub fn compute(prepared: &Prepared, observation: &Observation) -> Plan {
    let revision = Revision { id: "test".into(), subject: String::new() };
    plan::compute(prepared, observation, revision, &Targets::default())
}

/// The same site, which waits for silence no longer than it may.
pub fn hasty(files: &Files) -> Files {
    with(files, "site.toml", "[policy]\n", "[policy]\nquiet = \"10m\"\noutage-quiet = \"20m\"\n")
}

/// The text of a plan as one line.
pub fn flat(plan: &Plan) -> String {
    text(plan).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text of a plan.
pub fn text(plan: &Plan) -> String {
    plan::render_text(plan)
}

const SITE: &str = r#"
name = "cat"
[server]
address = "192.168.77.1"
[storage]
volume-group = "cafe"
create-pool = true
[iscsi]
iqn-prefix = "iqn.2026-11.example.cat"
[policy]
max-destroy = 50
may-destroy = []
"#;

const LAN: &str = r#"
interface = "br0"
mode = "server"
subnet = "192.168.77.0/24"
range = "192.168.77.200-192.168.77.249"
"#;

/// A site of `count` machines pc01… that boot alpha (reset at every boot) and beta (never reset), with a games disk.
pub fn cafe(count: usize) -> Files {
    let mut files = Files::new();
    let mut put = |path: &str, text: &str| drop(files.insert(path.to_owned(), text.to_owned()));
    put("site.toml", SITE);
    put("network/lan.toml", LAN);
    put("images/alpha.toml", &disk("alpha", "every-boot", "1", &["1"], "data-disks = [\"games\"]"));
    put("images/beta.toml", &disk("beta", "never", "1", &["1"], ""));
    put("images/games.toml", &disk("games", "on-update", "1", &["1"], "role = \"data\""));
    let names: Vec<String> = (1..=count).map(|number| format!("pc{number:02}")).collect();
    put("machines/row.toml", &machines(&names, "\"alpha\", \"beta\""));
    files
}

/// An image file.
pub fn disk(source: &str, reset: &str, current: &str, versions: &[&str], more: &str) -> String {
    let mut text = format!("kind = \"disk\"\nsize = \"64MiB\"\nreset = \"{reset}\"\ncurrent = \"{current}\"\n{more}\n");
    for version in versions {
        text.push_str(&format!("[[version]]\nname = \"{version}\"\nsource = \"{source}.raw\"\n"));
    }
    text
}

/// A machines file; a machine's addresses follow from the digits of its name.
pub fn machines(names: &[String], boot: &str) -> String {
    let mut text = format!("[defaults]\nboot = [{boot}]\n");
    for name in names {
        let number: u8 = name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().expect("a numbered name");
        text.push_str(&format!(
            "[[machine]]\nname = \"{name}\"\nmac = \"52:54:00:77:00:{number:02x}\"\nip = \"192.168.77.{}\"\n",
            100 + number
        ));
    }
    text
}

/// The same site with one text replaced; panics where it does not stand.
pub fn with(files: &Files, path: &str, from: &str, to: &str) -> Files {
    let mut files = files.clone();
    let text = files.get_mut(path).unwrap_or_else(|| panic!("no file {path}"));
    assert!(text.contains(from), "{path} does not hold {from:?}:\n{text}");
    *text = text.replace(from, to);
    files
}

/// The site of nobody and nothing, which consents to that.
pub fn empty() -> Files {
    let site = SITE.replace("may-destroy = []", "may-destroy = [\"*\"]");
    [("site.toml".to_owned(), site), ("network/lan.toml".to_owned(), LAN.to_owned())].into()
}
