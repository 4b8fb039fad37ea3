//! What LVM refuses and allows, asked of the fake and of the real tools alike.

use super::host_ground::{Ground, POOL, VG, on_each_host};
use barista::host::{ApplyContext, CONFIGFS_DEADLINE, Silent, apply};
use barista::names::{Bytes, LvName, Percent, VgName};
use barista::observed::{LV_FIELDS, LvKind, VG_FIELDS, parse_lvs, parse_vg};
use barista::plan::{Change, ChangeId, Op, Outcome, Plan, Revision, Step, Subject, VERSION};
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

fn change(name: &str, after: &[u32]) -> Change {
    crate::host_apply::change(Subject::Volume(vg(), lv(name)), after)
}

fn vg() -> VgName {
    VG.parse().expect("legal")
}

fn lv(name: &str) -> LvName {
    name.parse().expect("legal")
}

fn outcomes(ground: &Ground, changes: Vec<Change>, steps: Vec<Step>, store: &std::path::Path) -> Vec<Outcome> {
    let revision = Revision { id: "uncommitted".into(), subject: String::new() };
    let plan = Plan { version: VERSION, site: "contract".parse().expect("legal"), revision, changes, notes: Vec::new(), steps };
    let context = ApplyContext { state: store.to_owned(), image_store: store.to_owned(), configfs_deadline: CONFIGFS_DEADLINE };
    let report = apply(&ground.system, &plan, &context, &mut Silent);
    report.outcomes.into_iter().map(|(_, _, outcome)| outcome).collect()
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn contract_each_command_of_a_batch_gets_its_own_outcome() {
    on_each_host(|ground| {
        let state = tempfile::tempdir().expect("a directory");
        ground.volume("contract.base");
        ground.volume("contract.there");
        let clone = |at: u32, name: &str| {
            (ChangeId(at), words(&format!("lvcreate -s -kn -n {name} --addtag barista cafe/contract.base")))
        };
        let names = ["contract.a", "contract.there", "contract.b", "contract.nothere", "contract.c"];
        let mut changes: Vec<Change> = names.iter().map(|name| change(name, &[])).collect();
        changes.push(change("contract.d", &[1]));
        changes.push(change("contract.e", &[0]));
        let batch = vec![
            clone(0, "contract.a"),
            clone(1, "contract.there"),
            clone(2, "contract.b"),
            (ChangeId(3), words("lvchange --addtag x cafe/contract.nothere")),
            clone(4, "contract.c"),
            (ChangeId(4), words("lvchange -pr cafe/contract.c")),
            clone(5, "contract.d"),
            clone(6, "contract.e"),
        ];
        let outcomes = outcomes(ground, changes, vec![Step::LvmBatch(batch)], state.path());
        let [a, there, b, nothere, c, d, e] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!([a, b, c, e], [&Outcome::Done; 4], "{outcomes:?}");
        assert!(matches!(there, Outcome::Failed(why) if why.contains("already exists")), "{there:?}");
        assert!(matches!(nothere, Outcome::Failed(why) if why.contains("contract.nothere")), "{nothere:?}");
        assert!(matches!(d, Outcome::Skipped(why) if why.contains("contract.there failed")), "{d:?}");
        assert_eq!(ground.names(), ["contract.a", "contract.b", "contract.base", "contract.c", "contract.e", "contract.there"]);
        assert!(ground.field("contract.c", "lv_attr").starts_with("Vri"), "the second command of a change came after its first");
    });
}

#[test]
fn contract_each_volume_of_a_removal_gets_its_own_outcome() {
    on_each_host(|ground| {
        let state = tempfile::tempdir().expect("a directory");
        for name in ["contract.a", "contract.b", "contract.c"] {
            ground.volume(name);
        }
        ground.backstore(900_001, "contract.b");
        let changes = ["contract.a", "contract.b", "contract.c"].iter().map(|name| change(name, &[])).collect();
        let volumes = (0..).zip(["a", "b", "c"]).map(|(at, name)| (ChangeId(at), format!("cafe/contract.{name}"))).collect();
        let step = Step::LvmMany { words: words("lvremove -f -y"), volumes };
        let outcomes = outcomes(ground, changes, vec![step], state.path());
        assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Done, &Outcome::Done));
        assert!(
            matches!(&outcomes[1], Outcome::Failed(why) if why.contains("cafe/contract.b") && why.contains("in use")),
            "{outcomes:?}"
        );
        assert_eq!(ground.names(), ["contract.b"]);
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
        ground.volume("contract.v1");
        let fill = |path: &str, size| Op::Fill {
            path: path.into(),
            format: "raw".into(),
            vg: vg(),
            lv: lv("contract.v1"),
            size: Bytes(size),
            pool: lv(POOL),
            reserve: Percent::new(10),
        };
        let run =
            |ops| outcomes(ground, vec![change("contract.v1", &[])], vec![Step::Ops { change: ChangeId(0), ops }], store.path());
        let sha256 = |of: &str| Op::Verify { path: "win11.raw".into(), sha256: of.into() };
        assert!(
            matches!(&run(vec![sha256("00"), fill("win11.raw", 64 << 20)])[0], Outcome::Failed(why) if why.contains("SHA-256"))
        );
        assert_eq!(ground.field("contract.v1", "data_percent"), "0.00", "what is not verified is not filled from");
        assert!(matches!(&run(vec![fill("../etc/passwd", 64 << 20)])[0], Outcome::Failed(_)));
        assert!(matches!(&run(vec![fill("win11.raw", 4 << 20)])[0], Outcome::Failed(why) if why.contains("does not fit")));
        match &ground.fake {
            Some(fake) => fake.fill_pool(VG, "contract.v1", 64 << 10),
            None => drop(ground.works("dd if=/dev/urandom of=/dev/cafe/contract.v1 bs=1M count=3 oflag=direct")),
        }
        assert_eq!(run(vec![fill("win11.raw", 64 << 20)]), [Outcome::Done]);
        match &ground.fake {
            Some(fake) => {
                let content = fake.content(VG, "contract.v1").expect("is there");
                assert!(content.file.is_some_and(|file| file.ends_with("win11.raw")) && content.writes == 0);
            }
            None => {
                let mut volume = vec![0; image.len()];
                fs::File::open("/dev/cafe/contract.v1").and_then(|mut file| file.read_exact(&mut volume)).expect("reads");
                assert!(volume == image, "the volume holds something else than the file");
                assert!(ground.field("contract.v1", "data_percent").starts_with("0."), "holes of the image are left out");
            }
        }
        ground.backstore(900_001, "contract.v1");
        assert!(matches!(&run(vec![fill("win11.raw", 64 << 20)])[0], Outcome::Failed(why) if why.contains("held open")));
    });
}
