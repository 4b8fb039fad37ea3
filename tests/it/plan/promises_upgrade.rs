//! A host that an earlier version left: one disk for each machine and image, no record of what was offered, targets by their old names.

use crate::room::{Files, NIGHT, PC01, PREFIX, Room, cafe, prepare, text};
use barista::host::Kind;
use barista::observed::Seen;
use std::time::Duration;

/// Marks that only this version knows.
const NEW_MARKS: [&str; 6] = ["barista.epoch", "barista.side", "barista.base", "barista.sha256", "barista.lun", "barista.source"];

/// Makes the host as an earlier version would have left it; machines' targets are on.
fn as_before(room: &Room, files: &Files) {
    let Seen::Present(vg) = room.observe(&prepare(files)).vg else { panic!("no group") };
    for (name, lv) in &vg.lvs {
        for tag in lv.tags.iter().filter(|tag| NEW_MARKS.iter().any(|mark| tag.starts_with(&format!("{mark}=")))) {
            room.run(&format!("lvchange -y --deltag {tag} cafe/{name}"));
        }
    }
    room.host.set_file(&room.state.path().join(barista::host::offered::PATH), None);
    let tree = room.host.system().configfs;
    for image in ["alpha", "beta"] {
        let target = room.target("pc01", image);
        let group = format!("iscsi/{target}/tpgt_1");
        let mut shown = Vec::new();
        for (lun, _) in tree.list(&format!("{group}/lun")).expect("readable") {
            let links = tree.list(&format!("{group}/lun/{lun}")).expect("readable");
            let (link, _) = links.into_iter().find(|(_, kind)| *kind == Kind::Link).expect("a link");
            let backstore = tree.read_link(&format!("{group}/lun/{lun}/{link}")).expect("a link");
            shown.push((lun, backstore));
        }
        let old = format!("iscsi/{PREFIX}:pc01.{image}");
        let group = format!("{old}/tpgt_1");
        for path in [&old, &group] {
            tree.mkdir(path).expect("made");
        }
        tree.write(&format!("{group}/attrib/authentication"), "0").expect("written");
        tree.mkdir(&format!("{group}/acls/{PC01}")).expect("made");
        for (lun, backstore) in shown {
            tree.mkdir(&format!("{group}/lun/{lun}")).expect("made");
            tree.symlink(&backstore, &format!("{group}/lun/{lun}/barista")).expect("linked");
            tree.mkdir(&format!("{group}/acls/{PC01}/{lun}")).expect("made");
            tree.symlink(&format!("{group}/lun/{lun}"), &format!("{group}/acls/{PC01}/{lun}/barista")).expect("linked");
        }
        tree.mkdir(&format!("{group}/np/192.168.77.1:3260")).expect("listens");
        tree.write(&format!("{group}/enable"), "1").expect("on");
        crate::plan::promises_host::take_down(room, &target);
    }
}

#[test]
fn a_host_of_an_earlier_version_is_taken_over_with_nothing_destroyed_and_nobody_cut() {
    for (image, is_at_work) in [("alpha", true), ("alpha", false), ("beta", true), ("beta", false)] {
        let room = Room::new();
        room.settle(&cafe(1));
        as_before(&room, &cafe(1));
        room.restart_agent();
        let target = format!("{PREFIX}:pc01.{image}");
        room.host.login(&target, PC01).expect("logs in");
        room.host.write(&target, PC01, 0, 1 << 20).expect("writes");
        let disk = format!("seat.pc01.{image}.a");
        let written = room.host.content("cafe", &disk);
        if !is_at_work {
            room.host.logout(&target, PC01);
        }
        room.keep_as_case(&format!("upgrade_{image}_{}", if is_at_work { "at_work" } else { "off" }), &cafe(1));
        for _ in 0..6 {
            let (plan, _) = room.apply(&cafe(1));
            assert_eq!(room.host.content("cafe", &disk), written, "{image}: {}", text(&plan));
            assert_eq!(room.host.sessions(&target), usize::from(is_at_work), "{image}: {}", text(&plan));
            room.pass(&cafe(1), Duration::from_secs(60));
        }
        for version in ["img.alpha.1", "img.beta.1", "img.games.1"] {
            assert!(room.host.content("cafe", version).is_some(), "{version}");
        }
        room.host.logout(&target, PC01);
        room.pass(&cafe(1), NIGHT);
        room.wait("pc01", image);
        for _ in 0..3 {
            room.host.advance(Duration::from_secs(10));
            room.apply(&cafe(1));
        }
        let next = room.boot(&cafe(1), "pc01", image);
        assert!(room.is_open(&next, "pc01"), "{image}");
        match image {
            "alpha" => assert_eq!(room.disk(&next, 0).1.writes, 0, "the next boot is clean"),
            _ => assert_eq!(Some(room.disk(&next, 0).1), written, "what is kept is there"),
        }
    }
}
