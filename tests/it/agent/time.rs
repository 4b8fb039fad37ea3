//! The agent's loop on a host whose clock is set.

use crate::cafe::{Cafe, StopAtEnd};
use barista::{
    agent::{run::run, wakeup::Wakeup},
    host::fake::FakeHost,
};
use jiff::SignedDuration;
use std::{fs, thread, time::Duration};

#[test]
fn looks_go_on_when_the_clock_is_set_back_or_forward() {
    let cafe = Cafe::with_repository();
    cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0);
    let (host, wakeup) = (FakeHost::new(), Wakeup::default());
    let options = cafe.options();
    let table = cafe.state.join("boot/table.json");
    // Looks ten seconds of the fake's time after the last one, whatever its clock says meanwhile.
    let next_look = |what: &str| {
        fs::remove_file(&table).unwrap();
        cafe.until(what, || {
            host.advance(Duration::from_secs(1));
            wakeup.look();
            table.exists()
        });
    };
    thread::scope(|scope| {
        let agent = scope.spawn(|| run(&options, &host.system(), &wakeup));
        let _stop = StopAtEnd(&wakeup);
        cafe.until("the commit is applied", || table.exists());
        next_look("with an unmoved clock");
        host.set_clock(SignedDuration::from_hours(-2));
        next_look("two hours back");
        host.set_clock(SignedDuration::from_hours(365 * 24));
        next_look("a year ahead");
        host.set_clock(SignedDuration::from_hours(-365 * 24));
        next_look("and back again");
        wakeup.stop();
        agent.join().unwrap().unwrap();
    });
}
