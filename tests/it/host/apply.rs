//! Carrying a plan out: what a failure stops and what it does not.

use barista::boot::table::{BootMachine, BootTable, PATH};
use barista::host::fake::FakeHost;
use barista::host::offered::Record;
use barista::host::{ApplyContext, ConfigFs, Fills, Silent, apply};
use barista::names::{DhcpOptions, DiskId, Handle, Lun, Side};
use barista::observed::Boot;
use barista::plan::{
    Action, Change, ChangeId, Discards, Disruption, ExportOp, Gate, GroupSeen, Hold, LunPlan, Outcome, Plan, Pool, PortalGroup,
    Purpose, Reason, Revision, Standing, Step, Subject, TargetPlan, TargetSeen, VERSION,
};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

const PREFIX: &str = "iqn.2026-11.example.lucky-cat";
const TARGET: &str = "iqn.2026-11.example.lucky-cat:pc01.win11.a-00000000";

fn host() -> FakeHost {
    let host = FakeHost::new();
    host.load_lio().add_vg("cafe", 8 << 30).add_pool("cafe", "pool", 1 << 30);
    host.mkdir("iscsi").expect("the fabric is there");
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
        reason: Reason::Wanted,
        disruption: Disruption::None,
        loses: 0,
        purpose: Purpose::Site,
        gate: Gate::Open,
        after: after.iter().copied().map(ChangeId).collect(),
        handles: Vec::new(),
        diff: Vec::new(),
    }
}

fn target(name: &str, after: &[u32]) -> Change {
    change(Subject::Debris { path: name.into() }, after)
}

fn boot(name: &str, after: &[u32]) -> Change {
    change(Subject::Boot { machine: name.parse().expect("legal") }, after)
}

fn run(host: &FakeHost, state: &Path, changes: Vec<Change>, steps: Vec<Step>) -> Vec<Outcome> {
    let revision = Revision { id: "uncommitted".into(), subject: String::new() };
    let site = "lucky-cat".parse().expect("legal");
    let plan = Plan { version: VERSION, site, revision, titles: BTreeMap::new(), changes, notes: Vec::new(), steps };
    // Long enough for a loaded machine, and short enough to wait for in the tests that block.
    let deadline = Duration::from_secs(3);
    let context =
        ApplyContext { state: state.to_owned(), image_store: state.to_owned(), configfs_deadline: deadline, fills: Fills::Wait };
    let report = apply(&host.system(), &plan, &context, &mut Silent);
    report.outcomes.into_iter().map(|(_, _, outcome)| outcome).collect()
}

/// Removes a directory that a run left; one that is not there is fine.
fn remove(path: &str) -> ExportOp {
    ExportOp::RemoveDebris { path: path.into() }
}

fn steps(ops: Vec<ExportOp>) -> Vec<Step> {
    ops.into_iter().enumerate().map(|(change, op)| Step::Exports(vec![(ChangeId(change as u32), op)])).collect()
}

/// One step, as a plan has for changes that do not wait for one another.
fn at_once(ops: Vec<ExportOp>) -> Vec<Step> {
    vec![Step::Exports(ops.into_iter().enumerate().map(|(change, op)| (ChangeId(change as u32), op)).collect())]
}

/// Puts a target up over pc01's disk, and gives what takes it down.
fn build(host: &FakeHost, state: &Path) -> ExportOp {
    Record::new(&host.system(), state).begin(&Handle::new("vg"), 1).expect("begun");
    let disk = DiskId::seat(&"pc01".parse().expect("legal"), &"win11".parse().expect("legal"), Side::A);
    let initiator = format!("{PREFIX}:pc01").parse().expect("legal");
    let backstore = "iblock_100000/lucky-cat.pc01.win11.a".to_owned();
    let lun = LunPlan { disk, handle: None, backstore: backstore.clone(), stands: Standing::New, serial: "1".into() };
    let plan = TargetPlan {
        machine: "pc01".parse().expect("legal"),
        image: "win11".parse().expect("legal"),
        named: ("pc01".parse().expect("legal"), "win11".parse().expect("legal")),
        side: Side::A,
        name: Some(TARGET.parse().expect("legal")),
        own: Vec::new(),
        pool: Pool { vg: "cafe".parse().expect("legal"), pool: "pool".parse().expect("legal") },
        prefix: PREFIX.parse().expect("legal"),
        portal_group: PortalGroup::On,
        record: Boot::Every.to_string(),
        portal: "192.0.2.1:3260".parse().expect("legal"),
        initiators: vec![initiator],
        secrets: None,
        luns: [(Lun(0), lun)].into(),
        mark: "barista lucky-cat".into(),
        discards: Discards::Free,
    };
    assert_eq!(run(host, state, vec![target("t", &[])], steps(vec![ExportOp::Build(Box::new(plan))])), [Outcome::Done]);
    let link = Some("barista".to_owned());
    let group = GroupSeen {
        state: PortalGroup::On,
        luns: [(Lun(0), link.clone())].into(),
        acls: [(format!("{PREFIX}:pc01"), [(Lun(0), link)].into())].into(),
        portals: vec!["192.0.2.1:3260".parse().expect("legal")],
    };
    let seen = TargetSeen { name: TARGET.into(), groups: [(1, group)].into(), commands: 0, backstores: vec![backstore] };
    ExportOp::Withdraw { machine: "pc01".parse().expect("legal"), target: Box::new(seen) }
}

#[test]
fn a_target_is_on_record_before_it_lets_anybody_in_and_goes_only_while_nobody_is_on_it() {
    let (host, state) = (host(), tempfile::tempdir().expect("a directory"));
    let withdraw = build(&host, state.path());
    let effects = host.effects();
    let place = |what: &str| effects.iter().position(|effect| effect.contains(what)).expect(what);
    assert!(place("append ") < place(&format!("write iscsi/{TARGET}/tpgt_1/enable")), "{effects:?}");
    let initiator = format!("{PREFIX}:pc01");
    host.login(TARGET, &initiator).expect("logs in");
    let go = || run(&host, state.path(), vec![target("t", &[])], steps(vec![withdraw.clone()]));
    assert!(matches!(&go()[0], Outcome::Skipped(why) if why.contains("pc01 came into use")));
    assert_eq!(host.sessions(TARGET), 1);
    host.write(TARGET, &initiator, 0, 512).expect("writes");
    host.logout(TARGET, &initiator);
    assert!(
        matches!(&go()[0], Outcome::Skipped(why) if why.contains("its counters moved")),
        "more was served than the plan knew"
    );
    host.login(TARGET, &initiator).expect("it still lets it in");
}

#[test]
fn a_target_that_is_half_there_is_taken_down_from_any_place() {
    let count = {
        let (host, state) = (host(), tempfile::tempdir().expect("a directory"));
        let withdraw = build(&host, state.path());
        let before = host.effects().len();
        assert_eq!(run(&host, state.path(), vec![target("t", &[])], steps(vec![withdraw])), [Outcome::Done]);
        host.effects().len() - before
    };
    for n in 1..=count as u64 {
        let (host, state) = (host(), tempfile::tempdir().expect("a directory"));
        let withdraw = build(&host, state.path());
        host.crash_at(n);
        let outcome = run(&host, state.path(), vec![target("t", &[])], steps(vec![withdraw.clone()]));
        assert!(matches!(outcome[0], Outcome::Failed(_)), "effect {n}: {outcome:?}");
        host.revive();
        // The next plan sees which portal group still lets machines in.
        let mut again = withdraw;
        let is_off = host.read(&format!("iscsi/{TARGET}/tpgt_1/enable")).map_or(true, |enabled| enabled == "0");
        if let (ExportOp::Withdraw { target, .. }, true) = (&mut again, is_off) {
            target.groups.values_mut().for_each(|group| group.state = PortalGroup::Off);
        }
        assert_eq!(run(&host, state.path(), vec![target("t", &[])], steps(vec![again])), [Outcome::Done], "after effect {n}");
        assert!(host.list("iscsi").expect("readable").iter().all(|(name, _)| name != TARGET));
        assert!(host.list("core/iblock_100000").is_err());
    }
}

#[test]
fn what_the_kernel_does_not_let_go_of_is_stuck_and_the_rest_goes_on() {
    let (host, state) = (host(), tempfile::tempdir().expect("a directory"));
    let withdraw = build(&host, state.path());
    let acl = format!("iscsi/{TARGET}/tpgt_1/acls/{PREFIX}:pc01");
    host.block(&acl);
    host.mkdir("core/iblock_100001").expect("made");
    let changes = vec![target("a", &[]), target("b", &[0]), target("c", &[])];
    let ops = vec![withdraw, remove("core/iblock_7"), remove("core/iblock_100001")];
    let outcomes = run(&host, state.path(), changes, steps(ops));
    assert!(matches!(&outcomes[0], Outcome::Stuck(why) if why.starts_with(&format!("rm {acl}/lun_0/barista"))), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Skipped("debris a is stuck".into()));
    assert_eq!(outcomes[2], Outcome::Done);
    host.unblock();
}

#[test]
fn of_changes_that_go_at_once_each_has_its_own_end() {
    let (host, state) = (host(), tempfile::tempdir().expect("a directory"));
    let mut ops = vec![build(&host, state.path()), remove("core/alua")];
    host.block(&format!("iscsi/{TARGET}/tpgt_1/acls"));
    for n in 200_000..200_020 {
        host.mkdir(&format!("core/iblock_{n}")).expect("made");
        ops.push(remove(&format!("core/iblock_{n}")));
    }
    let changes: Vec<Change> = (0..ops.len()).map(|n| target(&n.to_string(), &[])).collect();
    let outcomes = run(&host, state.path(), changes, at_once(ops));
    assert!(matches!(&outcomes[0], Outcome::Stuck(why) if why.contains("did not finish")), "{:?}", outcomes[0]);
    assert!(matches!(&outcomes[1], Outcome::Failed(why) if why.starts_with("rmdir core/alua")), "{:?}", outcomes[1]);
    assert_eq!(outcomes[2..], vec![Outcome::Done; 20][..]);
    assert!((200_000..200_020).all(|n| host.list(&format!("core/iblock_{n}")).is_err()));
    host.unblock();
}

#[test]
fn a_change_goes_no_further_than_what_it_waits_for() {
    let (host, state) = (host(), tempfile::tempdir().expect("a directory"));
    let mut held = target("held", &[]);
    held.gate = Gate::Held(Hold::NotTargeted);
    let changes = vec![target("a", &[]), target("b", &[0]), target("c", &[1]), held, target("e", &[3]), target("f", &[])];
    let paths: Vec<String> = (0..6).map(|change| format!("core/iblock_10000{change}")).collect();
    paths.iter().for_each(|path| host.mkdir(path).expect("made"));
    host.fail_at(1);
    let outcomes = run(&host, state.path(), changes, steps(paths.iter().map(|path| remove(path)).collect()));
    assert!(matches!(&outcomes[0], Outcome::Failed(_)));
    assert_eq!(outcomes[1], Outcome::Skipped("debris a failed".into()));
    assert_eq!(outcomes[2], Outcome::Skipped("debris b was skipped".into()));
    let waits = Outcome::Skipped("waits for debris held, which is held".into());
    assert_eq!(outcomes[3], waits, "the held one itself is not reported");
    assert_eq!(outcomes[4], Outcome::Done);
    assert_eq!(outcomes.len(), 5);
    let left: Vec<&String> = paths.iter().filter(|path| host.list(path).is_ok()).collect();
    assert_eq!(left, paths[..5].iter().collect::<Vec<_>>());
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
        Step::Exports(vec![(ChangeId(0), remove("core/alua")), (ChangeId(2), remove("core/iblock_1"))]),
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
    assert_eq!(outcomes[1], Outcome::Skipped("debris pc01 failed".into()));
    assert_eq!((&outcomes[3], &outcomes[4]), (&Outcome::Done, &Outcome::Skipped("debris pc01 failed".into())));
}

#[test]
fn a_table_that_cannot_be_written_stops_what_relies_on_it() {
    let host = host();
    let state = tempfile::tempdir().expect("a directory");
    fs::write(state.path().join("boot"), "not a directory").expect("written");
    let changes = vec![boot("pc01", &[]), target("pc01", &[0])];
    let steps = vec![
        Step::Publish { change: None, table: Box::new(table(&[])), otherwise: Vec::new() },
        Step::Exports(vec![(ChangeId(1), remove("core/iblock_1"))]),
    ];
    let outcomes = run(&host, state.path(), changes, steps);
    assert!(matches!(&outcomes[0], Outcome::Failed(why) if why.contains("boot/table.json")), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Skipped("boot pc01 failed".into()));
    assert_eq!(host.effects().iter().filter(|effect| effect.starts_with("rmdir")).count(), 0);
}
