//! What LVM refuses and allows, asked of the fake and of the real tools alike.

use crate::contract::host_ground::{Ground, POOL, VG, on_each_host};
use barista::host::{ApplyContext, CONFIGFS_DEADLINE, Fills, Silent, apply};
use barista::names::{Bytes, DiskId, Handle, Percent};
use barista::observed::{LV_FIELDS, LvKind, VG_FIELDS, parse_lvs, parse_vg};
use barista::plan::{Change, ChangeId, DiskOp, Outcome, Plan, Pool, Revision, Step, Subject, VERSION};
use std::{fs, io::Read};

#[test]
fn contract_exit_statuses_are_three_for_bad_words_and_five_for_refusals() {
    on_each_host(|ground| {
        ground.volume("contract.v1");
        ground.volume("contract.v2");
        for (line, status) in [
            ("lvremove -f -y cafe/contract.nothere", 5),
            ("lvcreate -s -kn -n contract.x cafe/contract.nothere", 5),
            ("lvcreate -s -kn -n contract.v1 cafe/contract.v2", 5),
            ("lvcreate -y -T -V 64m -n contract.x_tdata cafe/contract.pool", 3),
            ("lvcreate -y -T -V 64m -n contract:x cafe/contract.pool", 3),
            ("lvcreate -y -T -V 64m -n contract.x cafe/contract.nopool", 5),
            ("lvcreate -y -T -V 64m -n contract.x contract-novg/pool", 5),
            ("lvcreate -y -T -V 64m -n contract.x --addtag a,b cafe/contract.pool", 3),
            ("lvcreate -y -T -V 1000000001b -n contract.x cafe/contract.pool", 3),
            ("lvcreate --type thin-pool -L 4m -y -n contract.pool cafe", 5),
            ("lvcreate --type thin-pool -L 900t -y -n contract.pool2 cafe", 5),
            ("lvrename cafe contract.v1 contract.v2", 5),
            ("lvrename cafe contract.nothere contract.v3", 5),
            ("lvchange --nosuchoption cafe/contract.v1", 3),
            ("lvchange -prw cafe/contract.v1", 5),
            ("lvextend -L 64m cafe/contract.v1", 5),
            ("lvextend -L 32m cafe/contract.v1", 5),
            ("lvs contract-novg", 5),
            ("vgs contract-novg", 5),
        ] {
            ground.fails(line, status);
        }
        assert_eq!(ground.names(), ["contract.v1", "contract.v2"], "nothing came of any of them");
    });
}

#[test]
fn contract_volumes_are_changed_as_said() {
    on_each_host(|ground| {
        ground.volume("contract.v1");
        ground.works("lvchange -pr --addtag barista.image=win11 cafe/contract.v1");
        ground.fails("lvchange -pr cafe/contract.v1", 5);
        assert_eq!(ground.field("contract.v1", "lv_tags"), "barista,barista.image=win11");
        ground.works("lvchange --addtag barista --deltag nosuchtag cafe/contract.v1");
        ground.works("lvchange --deltag barista.image=win11 cafe/contract.v1");
        assert_eq!(ground.field("contract.v1", "lv_tags"), "barista");
        assert!(ground.field("contract.v1", "lv_attr").starts_with("Vri-a"));
        ground.works("lvcreate -s -kn -n contract.clone --addtag barista cafe/contract.v1");
        assert!(ground.field("contract.clone", "lv_attr").starts_with("Vwi-a"), "a clone of a read-only volume can be written");
        ground.works("lvcreate -s -kn -pr -n contract.frozen cafe/contract.v1");
        assert!(ground.field("contract.frozen", "lv_attr").starts_with("Vri-a"));
        ground.works("lvextend -L 65m cafe/contract.clone");
        assert_eq!(ground.field("contract.clone", "lv_size"), (68 << 20).to_string(), "sizes are rounded up to extents");
        ground.works("lvchange -an cafe/contract.clone");
        ground.works("lvchange -an cafe/contract.clone");
        assert_eq!(ground.field("contract.clone", "lv_active"), "");
        assert_eq!(ground.field("contract.clone", "lv_kernel_minor"), "-1");
        assert_eq!(ground.field("contract.clone", "data_percent"), "");
        ground.works("lvrename cafe contract.clone contract.renamed");
        ground.works("lvrename cafe/contract.renamed cafe/contract.again");
        ground.works("lvchange -ay cafe/contract.again");
        assert_eq!(ground.names(), ["contract.again", "contract.frozen", "contract.v1"]);
    });
}

#[test]
fn contract_a_volume_outside_the_pool_is_reported_as_a_plain_one() {
    on_each_host(|ground| {
        ground.works("lvcreate -y -L 4m -n contract.plain --addtag barista cafe");
        assert_eq!(ground.field("contract.plain", "segtype"), "linear");
        assert_eq!(ground.field("contract.plain", "lv_tags"), "barista");
        ground.fails("lvcreate --type thin-pool -L 4m -y -n contract.plain cafe", 5);
        ground.fails("lvcreate -y -L 900t -n contract.huge cafe", 5);
        ground.works("lvremove -f -y cafe/contract.plain");
        assert_eq!(ground.names(), Vec::<String>::new());
    });
}

#[test]
fn contract_snapshots_are_passed_over_unless_they_are_made_with_kn() {
    on_each_host(|ground| {
        ground.volume("contract.v1");
        ground.works("lvcreate -s -n contract.skip cafe/contract.v1");
        assert_eq!(ground.field("contract.skip", "lv_active"), "");
        ground.works("lvchange -ay cafe/contract.skip");
        assert_eq!(ground.field("contract.skip", "lv_active"), "", "status 0, and nothing happened");
        assert_eq!(ground.field("contract.skip", "lv_skip_activation"), "1");
        ground.works("lvchange -ay -K cafe/contract.skip");
        assert_eq!(ground.field("contract.skip", "lv_active"), "active");
        ground.works("lvcreate -s -kn -n contract.kn cafe/contract.v1");
        assert_eq!(
            (ground.field("contract.kn", "lv_active"), ground.field("contract.kn", "lv_skip_activation")),
            ("active".into(), "0".into())
        );
    });
}

#[test]
fn contract_an_origin_is_removed_without_a_word_and_forgotten() {
    on_each_host(|ground| {
        ground.volume("contract.v1");
        ground.works("lvcreate -s -kn -n contract.clone cafe/contract.v1");
        assert_eq!(ground.field("contract.clone", "origin"), "contract.v1");
        ground.works("lvremove -f -y cafe/contract.v1");
        assert_eq!(ground.field("contract.clone", "origin"), "");
    });
}

#[test]
fn contract_a_volume_that_lio_holds_is_not_removed_but_can_be_renamed() {
    on_each_host(|ground| {
        ground.volume("contract.v1");
        let backstore = ground.backstore(900_001, "contract.v1");
        assert_eq!(ground.field("contract.v1", "lv_device_open"), "1");
        assert!(ground.field("contract.v1", "lv_attr").starts_with("Vwi-ao"));
        ground.fails("lvremove -f -y cafe/contract.v1", 5);
        ground.fails("lvchange -an cafe/contract.v1", 5);
        ground.fails("lvremove -f -y cafe/contract.pool", 5);
        let info = ground.tree().read(&format!("{backstore}/info")).expect("reads");
        ground.works("lvrename cafe contract.v1 contract.v2");
        assert_eq!(ground.tree().read(&format!("{backstore}/info")).expect("reads"), info, "the path in it is stale now");
        let minor = ground.field("contract.v2", "lv_kernel_minor");
        assert!(info.contains(&format!("Minor: {minor}  CLAIMED: IBLOCK")), "{info}");
        ground.tree().rmdir(&backstore).expect("lets go");
        ground.works("lvremove -f -y cafe/contract.v2");
    });
}

#[test]
fn contract_a_command_for_many_goes_on_after_a_refusal() {
    on_each_host(|ground| {
        for name in ["contract.a", "contract.b", "contract.c"] {
            ground.volume(name);
        }
        ground.fails("lvchange --addtag x cafe/contract.a cafe/contract.nothere cafe/contract.c", 5);
        assert_eq!(ground.field("contract.c", "lv_tags"), "barista,x");
        ground.backstore(900_001, "contract.b");
        ground.fails("lvremove -f -y cafe/contract.a cafe/contract.b cafe/contract.nothere cafe/contract.c", 5);
        assert_eq!(ground.names(), ["contract.b"]);
    });
}

#[test]
fn contract_reports_read_as_ours() {
    on_each_host(|ground| {
        ground.volume("contract.v1");
        ground.works("lvcreate -s -n contract.skip cafe/contract.v1");
        let options = "--reportformat json --units b --nosuffix --binary";
        let vgs = ground.works(&format!("vgs {options} -o {VG_FIELDS}"));
        let vg = parse_vg(&vgs.stdout, VG).expect("reads").expect("is there");
        assert!(vg.size > vg.free && vg.free > Bytes(0) && vg.extent == Bytes(4 << 20) && vg.metadata_free > Bytes(0));
        assert_eq!(parse_vg(&vgs.stdout, "contract-novg").expect("reads"), None);
        let lvs = parse_lvs(&ground.works(&format!("lvs -a {options} -o {LV_FIELDS} cafe")).stdout).expect("reads");
        let LvKind::ThinPool { data, metadata, needs_check, health, chunk, discards } = &lvs[POOL].kind else {
            panic!("no pool")
        };
        assert!(data.is_some() && metadata.is_some() && !needs_check && health.is_empty());
        assert_eq!((*chunk, discards.as_str()), (Bytes(64 << 10), "passdown"));
        assert!(lvs[POOL].open, "a pool is held open by its volumes");
        assert_eq!(lvs["contract.v1"].kind, LvKind::Thin { pool: POOL.into(), origin: None });
        assert_eq!((lvs["contract.v1"].size, lvs["contract.v1"].active), (Bytes(64 << 20), true));
        let skip = &lvs["contract.skip"];
        assert_eq!((skip.active, skip.device, skip.skip_activation, skip.read_only), (false, None, true, false));
        assert!(lvs.keys().all(|name| !name.starts_with('[')));
    });
}

#[test]
fn contract_a_full_pool_takes_no_new_volume_and_recovers_by_itself() {
    on_each_host(|ground| {
        ground.works("lvcreate -y -T -V 600m -n contract.big cafe/contract.pool");
        match &ground.fake {
            Some(fake) => fake.fill_pool(VG, "contract.big", 600 << 20),
            None => {
                ground.works("lvchange --errorwhenfull y cafe/contract.pool");
                ground.run("dd if=/dev/zero of=/dev/cafe/contract.big bs=1M count=600 oflag=direct");
            }
        }
        assert_eq!(ground.field(POOL, "data_percent"), "100.00");
        assert_eq!(ground.field(POOL, "lv_health_status"), "out_of_data");
        ground.fails("lvcreate -s -kn -n contract.late cafe/contract.big", 5);
        ground.fails("lvcreate -y -T -V 64m -n contract.late cafe/contract.pool", 5);
        ground.works("lvremove -f -y cafe/contract.big");
        assert_eq!((ground.field(POOL, "data_percent"), ground.field(POOL, "lv_health_status")), ("0.00".into(), String::new()));
    });
}

/// The disk of a name: its volume is called `img.contract.<name>`.
fn disk(name: &str) -> DiskId {
    DiskId::version(&"contract".parse().expect("legal"), &name.parse().expect("legal"))
}

fn volume(ground: &Ground, name: &str) {
    ground.volume(&format!("img.contract.{name}"));
}

fn handle(ground: &Ground, name: &str) -> Handle {
    Handle::new(ground.field(&format!("img.contract.{name}"), "lv_uuid"))
}

fn change(name: &str, after: &[u32]) -> Change {
    crate::host::apply::change(Subject::Debris { path: name.into() }, after)
}

fn pool() -> Pool {
    Pool { vg: VG.parse().expect("legal"), pool: POOL.parse().expect("legal") }
}

fn outcomes(ground: &Ground, changes: Vec<Change>, steps: Vec<Step>, store: &std::path::Path) -> Vec<Outcome> {
    let revision = Revision { id: "uncommitted".into(), subject: String::new() };
    let plan = Plan {
        version: VERSION,
        site: "contract".parse().expect("legal"),
        revision,
        titles: std::collections::BTreeMap::new(),
        changes,
        notes: Vec::new(),
        steps,
    };
    let (state, image_store) = (store.to_owned(), store.to_owned());
    let context = ApplyContext { state, image_store, configfs_deadline: CONFIGFS_DEADLINE, fills: Fills::Wait };
    let report = apply(&ground.system, &plan, &context, &mut Silent);
    report.outcomes.into_iter().map(|(_, _, outcome)| outcome).collect()
}

#[test]
fn contract_each_command_of_a_batch_gets_its_own_outcome() {
    on_each_host(|ground| {
        let state = tempfile::tempdir().expect("a directory");
        volume(ground, "base");
        volume(ground, "there");
        let base = handle(ground, "base");
        let clone = |at: u32, name: &str| {
            let (base, marks) = (disk("base"), vec!["barista".to_owned()]);
            (ChangeId(at), DiskOp::Clone { disk: disk(name), base, base_handle: Some(handle(ground, "base")), marks })
        };
        let names = ["a", "there", "b", "nothere", "c"];
        let mut changes: Vec<Change> = names.iter().map(|name| change(name, &[])).collect();
        changes.push(change("d", &[1]));
        changes.push(change("e", &[0]));
        let mark = DiskOp::Mark { disk: disk("nothere"), handle: None, remove: Vec::new(), add: vec!["x".into()] };
        let ops = vec![
            clone(0, "a"),
            clone(1, "there"),
            clone(2, "b"),
            (ChangeId(3), mark),
            clone(4, "c"),
            (ChangeId(4), DiskOp::Protect { disk: disk("c"), handle: base }),
            clone(5, "d"),
            clone(6, "e"),
        ];
        let outcomes = outcomes(ground, changes, vec![Step::Disks { pool: pool(), ops }], state.path());
        let [a, there, b, nothere, c, d, e] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!([a, b, c, e], [&Outcome::Done; 4], "{outcomes:?}");
        assert!(matches!(there, Outcome::Failed(why) if why.contains("already exists")), "{there:?}");
        assert!(matches!(nothere, Outcome::Failed(why) if why.contains("img.contract.nothere")), "{nothere:?}");
        assert!(matches!(d, Outcome::Skipped(why) if why.contains("there failed")), "{d:?}");
        assert_eq!(ground.names(), ["a", "b", "base", "c", "e", "there"].map(|name| format!("img.contract.{name}")));
        assert!(
            ground.field("img.contract.c", "lv_attr").starts_with("Vri"),
            "the second command of a change came after its first"
        );
    });
}

#[test]
fn contract_each_volume_of_a_removal_gets_its_own_outcome() {
    on_each_host(|ground| {
        let state = tempfile::tempdir().expect("a directory");
        let names = ["a", "b", "c"];
        names.iter().for_each(|name| volume(ground, name));
        ground.backstore(900_001, "img.contract.b");
        let changes = names.iter().map(|name| change(name, &[])).collect();
        let remove = |name: &str| DiskOp::Remove { disk: disk(name), handle: handle(ground, name) };
        let ops = (0..).zip(names).map(|(at, name)| (ChangeId(at), remove(name))).collect();
        let outcomes = outcomes(ground, changes, vec![Step::Disks { pool: pool(), ops }], state.path());
        assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Done, &Outcome::Done));
        assert!(
            matches!(&outcomes[1], Outcome::Failed(why) if why.contains("cafe/img.contract.b") && why.contains("in use")),
            "{outcomes:?}"
        );
        assert_eq!(ground.names(), ["img.contract.b"]);
    });
}

#[test]
fn contract_an_object_that_was_exchanged_under_its_name_is_left_alone() {
    on_each_host(|ground| {
        let state = tempfile::tempdir().expect("a directory");
        volume(ground, "a");
        let old = handle(ground, "a");
        ground.works("lvremove -f -y cafe/img.contract.a");
        volume(ground, "a");
        let other = || old.clone();
        let ops = [
            DiskOp::Remove { disk: disk("a"), handle: other() },
            DiskOp::Protect { disk: disk("a"), handle: other() },
            DiskOp::Activate { disk: disk("a"), handle: other() },
            DiskOp::Rename { from: disk("a"), to: disk("b"), handle: other() },
            DiskOp::Grow { disk: disk("a"), handle: Some(other()), to: Bytes(128 << 20) },
            DiskOp::Clone { disk: disk("b"), base: disk("a"), base_handle: Some(other()), marks: vec!["barista".into()] },
        ];
        let changes = (0..ops.len()).map(|at| change(&at.to_string(), &[])).collect();
        let ops = (0..).zip(ops).map(|(at, op)| (ChangeId(at), op)).collect();
        for outcome in outcomes(ground, changes, vec![Step::Disks { pool: pool(), ops }], state.path()) {
            assert!(matches!(&outcome, Outcome::Failed(why) if why.contains("another volume now")), "{outcome:?}");
        }
        assert_eq!(ground.names(), ["img.contract.a"]);
    });
}

#[test]
fn contract_a_volume_is_filled_whole_and_again_after_a_half_finished_attempt() {
    on_each_host(|ground| {
        let store = tempfile::tempdir().expect("a directory");
        let mut image = vec![0; 8 << 20];
        image[..9].copy_from_slice(b"a disk of");
        image[(5 << 20)..(5 << 20) + 5].copy_from_slice(b"seats");
        fs::write(store.path().join("win11.raw"), &image).expect("written");
        volume(ground, "v1");
        let fill = |path: &str, size, sha256: Option<&str>| DiskOp::Fill {
            disk: disk("v1"),
            path: path.into(),
            format: barista::site::SourceFormat::Raw,
            size: Bytes(size),
            sha256: sha256.map(str::to_owned),
            reserve: Percent::new(10),
        };
        let run = |op| {
            let step = Step::Fill { pool: pool(), change: ChangeId(0), ops: vec![op] };
            outcomes(ground, vec![change("v1", &[])], vec![step], store.path()).swap_remove(0)
        };
        let wrong = run(fill("win11.raw", 64 << 20, Some("00")));
        assert!(matches!(&wrong, Outcome::Failed(why) if why.contains("SHA-256")), "{wrong:?}");
        assert!(matches!(run(fill("../etc/passwd", 64 << 20, None)), Outcome::Failed(_)));
        assert!(matches!(run(fill("win11.raw", 4 << 20, None)), Outcome::Failed(why) if why.contains("does not fit")));
        match &ground.fake {
            Some(fake) => fake.fill_pool(VG, "img.contract.v1", 64 << 10),
            None => drop(ground.works("dd if=/dev/urandom of=/dev/cafe/img.contract.v1 bs=1M count=3 oflag=direct")),
        }
        assert_eq!(run(fill("win11.raw", 64 << 20, None)), Outcome::Done);
        match &ground.fake {
            Some(fake) => {
                let content = fake.content(VG, "img.contract.v1").expect("is there");
                assert!(content.file.is_some_and(|file| file.ends_with("win11.raw")) && content.writes == 0);
            }
            None => {
                let mut volume = vec![0; image.len()];
                fs::File::open("/dev/cafe/img.contract.v1").and_then(|mut file| file.read_exact(&mut volume)).expect("reads");
                assert!(volume == image, "the volume holds something else than the file");
                assert!(ground.field("img.contract.v1", "data_percent").starts_with("0."), "holes of the image are left out");
            }
        }
        ground.backstore(900_001, "img.contract.v1");
        assert!(matches!(run(fill("win11.raw", 64 << 20, None)), Outcome::Failed(why) if why.contains("held open")));
    });
}
