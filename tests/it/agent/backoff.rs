//! What fails is tried again at growing pauses, and slows nothing beside it.

use crate::{
    cafe::{Cafe, StopAtEnd},
    room::{cafe as site, with},
};
use barista::{
    agent::{
        run::run,
        status::{AttemptResult, Status},
        wakeup::Wakeup,
    },
    host::fake::FakeHost,
};
use std::{fs, thread, time::Duration};

#[test]
fn a_version_that_cannot_be_filled_is_read_seldom_and_slows_nobody() {
    let cafe = Cafe::with_repository();
    let sum = format!("[[version]]\nsha256 = \"{}\"\n", "0".repeat(64));
    for (path, text) in &with(&site(2), "images/beta.toml", "[[version]]\n", &sum) {
        cafe.work.write(path, text);
    }
    fs::remove_file(cafe.work.tree.join("machines/row-a.toml")).unwrap();
    fs::remove_file(cafe.work.tree.join("images/local.toml")).unwrap();
    cafe.work.commit("one image is not what its checksum says");
    assert!(cafe.push("HEAD:main").0);
    let store = cafe.state.join("images");
    fs::create_dir_all(&store).unwrap();
    for source in ["alpha.raw", "beta.raw", "games.raw"] {
        fs::write(store.join(source), vec![7; 256 << 10]).unwrap();
    }
    let (host, wakeup) = (FakeHost::new(), Wakeup::default());
    host.add_vg("cafe", 1 << 40);
    let options = cafe.options();
    let table = cafe.state.join("boot/table.json");
    let begun = || host.effects().iter().filter(|effect| effect.contains("lvcreate") && effect.contains("img.beta.1")).count();
    thread::scope(|scope| {
        let agent = scope.spawn(|| run(&options, &host.system(), &wakeup));
        let _stop = StopAtEnd(&wakeup);
        // Sources count as whole once they have not changed for a while.
        let tick = || {
            host.advance(Duration::from_secs(1));
            wakeup.look();
        };
        cafe.until("the seats beside it have their disks", || {
            tick();
            host.targets().iter().filter(|target| target.name.contains("alpha")).count() == 2
        });
        cafe.until("its first attempt is over", || {
            tick();
            begun() > 0
        });
        let (first, mut looks) = (begun(), 0);
        while looks < 12 {
            fs::remove_file(&table).unwrap();
            cafe.until("drift is put right meanwhile", || {
                tick();
                table.exists()
            });
            looks += 1;
        }
        // At least 120 s of the host's time: after 15, 45 and 105 of them.
        let again = begun() - first;
        assert!((1..=4).contains(&again), "{again} more attempts in {looks} looks");
        let attempt = || Status::read(&cafe.state).unwrap().last.expect("there was an attempt");
        cafe.until("no attempt runs", || !matches!(attempt().result, AttemptResult::Running));
        let last = attempt();
        match &last.result {
            AttemptResult::Failed { failures, .. } => assert!(failures.iter().any(|said| said.contains("beta")), "{failures:?}"),
            other => panic!("{other:?}"),
        }
        wakeup.stop();
        agent.join().unwrap().unwrap();
    });
}
