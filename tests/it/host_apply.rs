//! Carrying a plan out: what a failure stops and what it does not.

use barista::boot::table::{BootMachine, BootTable, PATH};
use barista::host::fake::FakeHost;
use barista::host::{ApplyContext, ConfigFs, Silent, apply};
use barista::names::DhcpOptions;
use barista::plan::{
    Action, Change, ChangeId, ConfigFsOp, Disruption, Gate, Hold, Op, Outcome, Plan, Revision, Step, Subject, VERSION,
};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

const BACKSTORE: &str = "core/iblock_100000/lucky-cat.pc01.win11";
const TPG: &str = "iscsi/iqn.2026-11.example.lucky-cat:pc01.win11/tpgt_1";
const ACL: &str = "acls/iqn.2026-11.example.lucky-cat:pc01";

fn host() -> FakeHost {
    let host = FakeHost::new();
    host.load_lio().add_vg("cafe", 8 << 30).add_pool("cafe", "pool", 1 << 30);
    let volume = ["lvcreate", "-y", "-T", "-V", "64m", "-n", "seat.pc01.win11.a", "cafe/pool"];
    let command = barista::host::Command::new(volume, Duration::from_secs(9));
    assert!(host.system().commands.run(&command).is_ok_and(|output| output.is_success()));
    host
}

/// An open change that makes something.
pub fn change(subject: Subject, after: &[u32]) -> Change {
    Change {
        subject,
        action: Action::Create,
        detail: String::new(),
        reason: String::new(),
        disruption: Disruption::None,
        gate: Gate::Open,
        after: after.iter().copied().map(ChangeId).collect(),
        diff: Vec::new(),
    }
}

fn target(name: &str, after: &[u32]) -> Change {
    change(Subject::Target(name.into()), after)
}

fn boot(name: &str, after: &[u32]) -> Change {
    change(Subject::Boot(name.parse().expect("legal")), after)
}

fn run(host: &FakeHost, state: &Path, changes: Vec<Change>, steps: Vec<Step>) -> Vec<Outcome> {
    let revision = Revision { id: "uncommitted".into(), subject: String::new() };
    let site = "lucky-cat".parse().expect("legal");
    let plan = Plan { version: VERSION, site, revision, changes, notes: Vec::new(), steps };
    // Long enough for a loaded machine, and short enough to wait for in the tests that block.
    let deadline = Duration::from_secs(3);
    let context = ApplyContext { state: state.to_owned(), image_store: state.to_owned(), configfs_deadline: deadline };
    let report = apply(&host.system(), &plan, &context, &mut Silent);
    report.outcomes.into_iter().map(|(_, _, outcome)| outcome).collect()
}

/// Runs the ops of one change.
fn run_ops(host: &FakeHost, ops: Vec<Op>) -> Outcome {
    let state = tempfile::tempdir().expect("a directory");
    run(host, state.path(), vec![target("t", &[])], vec![Step::Ops { change: ChangeId(0), ops }]).swap_remove(0)
}

fn mkdir(path: &str) -> Op {
    Op::ConfigFs(ConfigFsOp::Mkdir(path.into()))
}

fn rmdir(path: &str) -> Op {
    Op::ConfigFs(ConfigFsOp::Rmdir(path.into()))
}

fn write(path: &str, value: &str) -> Op {
    Op::ConfigFs(ConfigFsOp::Write { path: path.into(), value: value.into() })
}

fn link(target: &str, link: &str) -> Op {
    Op::ConfigFs(ConfigFsOp::Symlink { target: target.into(), link: link.into() })
}

fn unlink(path: &str) -> Op {
    Op::ConfigFs(ConfigFsOp::Unlink(path.into()))
}

fn build() -> Vec<Op> {
    let (lun, mapped) = (format!("{TPG}/lun/lun_0"), format!("{TPG}/{ACL}/lun_0"));
    vec![
        mkdir("core/iblock_100000"),
        mkdir(BACKSTORE),
        write(&format!("{BACKSTORE}/control"), "udev_path=/dev/cafe/seat.pc01.win11.a"),
        write(&format!("{BACKSTORE}/enable"), "1"),
        write(&format!("{BACKSTORE}/attrib/emulate_tpu"), "1"),
        mkdir("iscsi"),
        mkdir(TPG.trim_end_matches("/tpgt_1")),
        mkdir(TPG),
        mkdir(&lun),
        link(BACKSTORE, &format!("{lun}/disk")),
        mkdir(&format!("{TPG}/np/192.0.2.1:3260")),
        mkdir(&format!("{TPG}/{ACL}")),
        mkdir(&mapped),
        link(&lun, &format!("{mapped}/disk")),
        write(&format!("{TPG}/attrib/authentication"), "0"),
        write(&format!("{TPG}/enable"), "1"),
    ]
}

/// What a planner that sees the host would have run again: an open backstore takes no other path, not even its own (EEXIST), for
/// after a rename that path may lead elsewhere.
fn rebuild(host: &FakeHost) -> Vec<Op> {
    let control = format!("{BACKSTORE}/control");
    let is_open = host.read(&format!("{BACKSTORE}/enable")).is_ok_and(|enabled| enabled == "1");
    let skips = |op: &Op| is_open && matches!(op, Op::ConfigFs(ConfigFsOp::Write { path, .. }) if *path == control);
    build().into_iter().filter(|op| !skips(op)).collect()
}

fn teardown() -> Vec<Op> {
    let (lun, mapped) = (format!("{TPG}/lun/lun_0"), format!("{TPG}/{ACL}/lun_0"));
    vec![
        unlink(&format!("{mapped}/disk")),
        rmdir(&mapped),
        rmdir(&format!("{TPG}/{ACL}")),
        unlink(&format!("{lun}/disk")),
        rmdir(&lun),
        rmdir(&format!("{TPG}/np/192.0.2.1:3260")),
        rmdir(TPG),
        rmdir(TPG.trim_end_matches("/tpgt_1")),
        rmdir(BACKSTORE),
        rmdir("core/iblock_100000"),
    ]
}

/// Everything there is in configfs, by path.
fn tree(host: &FakeHost, path: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, kind) in host.list(path).unwrap_or_default() {
        let path = if path.is_empty() { name } else { format!("{path}/{name}") };
        match kind {
            barista::host::Kind::Directory => found.extend(tree(host, &path)),
            barista::host::Kind::Attribute => drop(found.insert(path.clone(), host.read(&path).unwrap_or_default())),
            barista::host::Kind::Link => drop(found.insert(path.clone(), host.read_link(&path).expect("a link"))),
        }
        found.entry(path).or_default();
    }
    found
}

#[test]
fn ops_that_are_cut_off_anywhere_come_to_the_same_end_when_run_again() {
    let whole = host();
    assert_eq!(run_ops(&whole, build()), Outcome::Done);
    let built = tree(&whole, "");
    assert_eq!(run_ops(&whole, rebuild(&whole)), Outcome::Done, "what is done already is fine");
    assert_eq!(tree(&whole, ""), built);
    assert_eq!(run_ops(&whole, teardown()), Outcome::Done);
    let bare = tree(&whole, "");
    for n in 1..=build().len() as u64 {
        let host = host();
        host.crash_at(n);
        assert!(matches!(run_ops(&host, build()), Outcome::Failed(why) if why.contains("os error")), "effect {n}");
        host.revive();
        assert_eq!(run_ops(&host, rebuild(&host)), Outcome::Done, "after effect {n}");
        assert_eq!(tree(&host, ""), built, "after effect {n}");
        if n <= teardown().len() as u64 {
            host.crash_at(n);
            assert!(matches!(run_ops(&host, teardown()), Outcome::Failed(_)), "effect {n}");
            host.revive();
            assert_eq!(run_ops(&host, teardown()), Outcome::Done, "after effect {n}");
            assert_eq!(tree(&host, ""), bare, "after effect {n}");
        }
        assert!(host.crashes().is_empty());
    }
}

#[test]
fn a_link_to_something_else_is_not_taken_for_ours() {
    let host = host();
    assert_eq!(run_ops(&host, build()), Outcome::Done);
    let other = run_ops(&host, vec![link("core/iblock_100000", &format!("{TPG}/lun/lun_0/disk"))]);
    assert!(matches!(&other, Outcome::Failed(why) if why.contains("another link is there")), "{other:?}");
}

#[test]
fn a_map_that_has_died_is_made_anew() {
    let host = host();
    assert_eq!(run_ops(&host, build()), Outcome::Done);
    let lun = format!("{TPG}/lun/lun_0/disk");
    host.unlink(&lun).expect("another tool took it away");
    assert_eq!(run_ops(&host, rebuild(&host)), Outcome::Done);
    host.login("iqn.2026-11.example.lucky-cat:pc01.win11", "iqn.2026-11.example.lucky-cat:pc01").expect("logs in");
    let written = host.write("iqn.2026-11.example.lucky-cat:pc01.win11", "iqn.2026-11.example.lucky-cat:pc01", 0, 512);
    assert_eq!(written, Ok(()), "the map works again");
}

#[test]
fn a_write_that_would_crash_the_kernel_is_refused() {
    let host = host();
    let ops = vec![mkdir("core/iblock_100000"), mkdir(BACKSTORE), write(&format!("{BACKSTORE}/attrib/emulate_tpu"), "1")];
    let outcome = run_ops(&host, ops);
    assert!(matches!(&outcome, Outcome::Failed(why) if why.contains("would crash the kernel")), "{outcome:?}");
    assert!(host.crashes().is_empty());
}

#[test]
fn what_the_kernel_does_not_let_go_of_is_stuck_and_the_rest_goes_on() {
    let host = host();
    let state = tempfile::tempdir().expect("a directory");
    assert_eq!(run_ops(&host, build()), Outcome::Done);
    host.block(&format!("{TPG}/{ACL}"));
    let changes = vec![target("a", &[]), target("b", &[0]), target("c", &[])];
    let ops = |change, ops| Step::Ops { change: ChangeId(change), ops };
    let steps = vec![ops(0, teardown()), ops(1, vec![rmdir("core/iblock_7")]), ops(2, vec![mkdir("core/iblock_100001")])];
    let outcomes = run(&host, state.path(), changes, steps);
    assert!(
        matches!(&outcomes[0], Outcome::Stuck(why) if why.starts_with(&format!("rm {TPG}/{ACL}/lun_0/disk"))),
        "{outcomes:?}"
    );
    assert_eq!(outcomes[1], Outcome::Skipped("target a is stuck".into()));
    assert_eq!(outcomes[2], Outcome::Done);
    host.unblock();
}

#[test]
fn of_changes_that_go_at_once_each_has_its_own_end() {
    let host = host();
    let state = tempfile::tempdir().expect("a directory");
    assert_eq!(run_ops(&host, build()), Outcome::Done);
    host.block(&format!("{TPG}/{ACL}"));
    let mut works = vec![teardown(), vec![rmdir("core/alua")]];
    works.extend((200_000..200_020).map(|n| vec![mkdir(&format!("core/iblock_{n}")), mkdir(&format!("core/iblock_{n}/disk"))]));
    let changes: Vec<Change> = (0..works.len()).map(|n| target(&n.to_string(), &[])).collect();
    let steps = works.into_iter().enumerate().map(|(n, ops)| Step::Ops { change: ChangeId(n as u32), ops }).collect();
    let outcomes = run(&host, state.path(), changes, steps);
    assert!(matches!(&outcomes[0], Outcome::Stuck(why) if why.contains("did not finish")), "{:?}", outcomes[0]);
    assert!(matches!(&outcomes[1], Outcome::Failed(why) if why.starts_with("rmdir core/alua")), "{:?}", outcomes[1]);
    assert_eq!(outcomes[2..], vec![Outcome::Done; 20][..]);
    assert!((200_000..200_020).all(|n| host.list(&format!("core/iblock_{n}/disk")).is_ok()));
    host.unblock();
}

#[test]
fn a_change_goes_no_further_than_what_it_waits_for() {
    let host = host();
    let state = tempfile::tempdir().expect("a directory");
    let mut held = target("held", &[]);
    held.gate = Gate::Held(Hold::NotTargeted);
    let changes = vec![target("a", &[]), target("b", &[0]), target("c", &[1]), held, target("e", &[3]), target("f", &[])];
    let op = |change| Step::Ops { change: ChangeId(change), ops: vec![mkdir(&format!("core/iblock_10000{change}"))] };
    host.fail_at(1);
    let outcomes = run(&host, state.path(), changes, (0..6).map(op).collect());
    assert!(matches!(&outcomes[0], Outcome::Failed(_)));
    assert_eq!(outcomes[1], Outcome::Skipped("target a failed".into()));
    assert_eq!(outcomes[2], Outcome::Skipped("target b was skipped".into()));
    assert_eq!(
        outcomes[3],
        Outcome::Skipped("waits for target held, which is held".into()),
        "the held one itself is not reported"
    );
    assert_eq!(outcomes[4], Outcome::Done);
    assert_eq!(outcomes.len(), 5);
    let made: Vec<String> = tree(&host, "core").into_keys().filter(|path| path.matches('/').count() == 1).collect();
    assert_eq!(made, ["core/alua", "core/iblock_100005"].map(str::to_owned)[..], "{made:?}");
}

fn machine(script: &str) -> BootMachine {
    BootMachine {
        macs: Vec::new(),
        ip: None,
        firmware: None,
        default: "win11".into(),
        script: script.into(),
        disks: BTreeMap::new(),
        loader: None,
        pxe: None,
        options: DhcpOptions::default(),
    }
}

fn table(machines: &[(&str, &str)]) -> BootTable {
    let address = "192.0.2.1".parse().expect("legal");
    let machines = machines.iter().map(|(name, script)| (name.parse().expect("legal"), machine(script)));
    BootTable {
        version: barista::boot::table::VERSION,
        site: "lucky-cat".parse().expect("legal"),
        tftp_address: address,
        http_address: address,
        http_port: 8080,
        loaders: None,
        chap_secrets: None,
        networks: BTreeMap::new(),
        machines: machines.collect(),
        unknown_script: String::new(),
        assets: Default::default(),
    }
}

#[test]
fn a_machine_whose_change_did_not_come_to_be_is_told_what_it_was_told_before() {
    let host = host();
    let state = tempfile::tempdir().expect("a directory");
    let mut held = boot("pc04", &[]);
    held.gate = Gate::Held(Hold::NotTargeted);
    let changes =
        vec![target("pc01", &[]), boot("pc01", &[0]), target("pc02", &[]), boot("pc02", &[2]), boot("pc03", &[0]), held];
    let name = |name: &str| name.parse().expect("legal");
    let steps = vec![
        Step::Ops { change: ChangeId(0), ops: vec![mkdir("core/iblock_x")] },
        Step::Ops { change: ChangeId(2), ops: vec![mkdir("core/iblock_1")] },
        Step::Publish {
            change: None,
            table: Box::new(table(&[("pc01", "new"), ("pc02", "new"), ("pc03", "new"), ("pc04", "new")])),
            otherwise: vec![
                (ChangeId(1), name("pc01"), Some(machine("old"))),
                (ChangeId(3), name("pc02"), Some(machine("old"))),
                (ChangeId(4), name("pc03"), None),
                (ChangeId(5), name("pc04"), Some(machine("old"))),
            ],
        },
    ];
    let outcomes = run(&host, state.path(), changes, steps);
    let text = fs::read_to_string(state.path().join(PATH)).expect("published");
    let expected = table(&[("pc01", "old"), ("pc02", "new"), ("pc04", "old")]);
    assert_eq!(BootTable::parse(&text).expect("reads"), expected);
    assert_eq!(outcomes[1], Outcome::Skipped("target pc01 failed".into()));
    assert_eq!((&outcomes[3], &outcomes[4]), (&Outcome::Done, &Outcome::Skipped("target pc01 failed".into())));
}

#[test]
fn a_table_that_cannot_be_written_stops_what_relies_on_it() {
    let host = host();
    let state = tempfile::tempdir().expect("a directory");
    fs::write(state.path().join("boot"), "not a directory").expect("written");
    let changes = vec![boot("pc01", &[]), target("pc01", &[0])];
    let steps = vec![
        Step::Publish { change: None, table: Box::new(table(&[])), otherwise: Vec::new() },
        Step::Ops { change: ChangeId(1), ops: vec![mkdir("core/iblock_1")] },
    ];
    let outcomes = run(&host, state.path(), changes, steps);
    assert!(matches!(&outcomes[0], Outcome::Failed(why) if why.contains("boot/table.json")), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Skipped("boot pc01 failed".into()));
    assert_eq!(host.effects().iter().filter(|effect| effect.starts_with("mkdir")).count(), 0);
}
