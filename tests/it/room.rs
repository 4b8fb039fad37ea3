//! A café in memory for tests: a site's text, the fake host, a state directory, and the errand between them.

use barista::boot::table::BootTable;
use barista::host::fake::FakeHost;
use barista::host::{ApplyContext, CONFIGFS_DEADLINE, Command, Scope, Silent, apply, observe, remember};
use barista::names::MacAddr;
use barista::observed::Observation;
use barista::plan::{self, Outcome, Plan, Prepared, Report, Revision, Targets};
use barista::site::{Entry, Tree, load};
use std::{collections::BTreeMap, fs, time::Duration};

/// Files of a site by path.
pub type Files = BTreeMap<String, String>;

/// The initiator of the first machine, and its targets.
pub const PC01: &str = "iqn.2026-11.example.cat:pc01";
pub const ALPHA: &str = "iqn.2026-11.example.cat:pc01.alpha";
pub const BETA: &str = "iqn.2026-11.example.cat:pc01.beta";

/// A café in memory.
pub struct Room {
    pub host: FakeHost,
    pub state: tempfile::TempDir,
}

impl Room {
    /// A host with an empty volume group `cafe` of a tebibyte, and sources `alpha.raw`, `beta.raw`, `games.raw` of 256 KiB.
    pub fn new() -> Self {
        let room = Self { host: FakeHost::new(), state: tempfile::tempdir().expect("a directory") };
        room.host.add_vg("cafe", 1 << 40);
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

    pub fn observe(&self, prepared: &Prepared) -> Observation {
        observe(&self.host.system(), &Scope::of(prepared, self.state.path()))
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

    /// Observes, plans, applies and remembers, as the program does.
    pub fn apply(&self, files: &Files) -> (Plan, Report) {
        let prepared = prepare(files);
        let observation = self.observe(&prepared);
        remember(self.state.path(), &observation).expect("writable");
        let plan = compute(&prepared, &observation);
        let context = ApplyContext {
            state: self.state.path().to_owned(),
            image_store: Scope::image_store(&prepared, self.state.path()),
            configfs_deadline: CONFIGFS_DEADLINE,
        };
        let report = apply(&self.host.system(), &plan, &context, &mut Silent);
        (plan, report)
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
        assert_eq!(plan::render_text(&self.plan(files)), "No changes. The host matches test.\n");
        assert_eq!(self.host.crashes(), Vec::<String>::new());
    }

    /// The published table.
    pub fn table(&self) -> BootTable {
        let text = fs::read_to_string(self.state.path().join(barista::boot::table::PATH)).expect("published");
        BootTable::parse(&text).expect("a table")
    }

    /// A machine logs in, writes a MiB to its system disk, and leaves; then so much time passes that its seat is free.
    pub fn use_seat(&self, files: &Files, target: &str, initiator: &str) {
        self.host.login(target, initiator).expect("logs in");
        self.host.write(target, initiator, 0, 1 << 20).expect("writes");
        self.host.logout(target, initiator);
        self.pass(files);
    }

    /// Looks, and lets two minutes pass: counters that moved are old news then.
    pub fn pass(&self, files: &Files) {
        let observation = self.observe(&prepare(files));
        remember(self.state.path(), &observation).expect("writable");
        self.host.advance(Duration::from_secs(120));
    }

    /// Writes down that a machine fetched its script now.
    pub fn fetch(&self, mac: &str) {
        use barista::boot::transcript::{MachineTranscript, PATH, VERSION};
        let now = self.host.system().kernel.now();
        let machine = MachineTranscript { script_fetched: Some(now), ..MachineTranscript::default() };
        let machines = BTreeMap::from([(mac.parse::<MacAddr>().expect("legal"), machine)]);
        let path = self.state.path().join(PATH);
        fs::create_dir_all(path.parent().expect("has one")).expect("writable");
        let text = serde_json::json!({ "version": VERSION, "machines": machines }).to_string();
        fs::write(path, text).expect("writable");
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
