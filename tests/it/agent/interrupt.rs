//! An apply that is told to stop.

use crate::room::{Room, cafe, compute, prepare};
use barista::host::{ApplyContext, CONFIGFS_DEADLINE, Fills, Progress, Scope, apply};
use barista::plan::{ChangeId, Outcome, Prepared};

fn context(room: &Room, prepared: &Prepared) -> ApplyContext {
    ApplyContext {
        fills: Fills::Wait,
        state: room.state.path().to_owned(),
        image_store: Scope::image_store(prepared, room.state.path()),
        configfs_deadline: CONFIGFS_DEADLINE,
    }
}

/// Is told to stop before the step of this number, counted from 0.
struct StopBefore(usize);

impl Progress for StopBefore {
    fn begin(&mut self, _: Option<ChangeId>, _: &str) {}
    fn advance(&mut self, _: u64, _: u64) {}
    fn end(&mut self, _: &Outcome) {}
    fn is_told_to_stop(&mut self) -> bool {
        let is_time = self.0 == 0;
        self.0 = self.0.saturating_sub(1);
        is_time
    }
}

#[test]
fn an_apply_that_is_told_to_stop_begins_no_other_step_and_the_next_one_finishes() {
    let files = cafe(2);
    let prepared = prepare(&files);
    for before in 0.. {
        let room = Room::new();
        let plan = compute(&prepared, &room.observe(&prepared));
        let context = context(&room, &prepared);
        let report = apply(&room.host.system(), &plan, &context, &mut StopBefore(before));
        let skipped = report.outcomes.iter().filter(|(_, _, outcome)| matches!(outcome, Outcome::Skipped(_))).count();
        let failed: Vec<_> = report.outcomes.iter().filter(|(_, _, outcome)| matches!(outcome, Outcome::Failed(_))).collect();
        assert!(failed.is_empty(), "{failed:?}");
        if before == 0 {
            assert_eq!(skipped, report.outcomes.len());
            assert_eq!(room.host.effects(), Vec::<String>::new());
        }
        room.settle(&files);
        if skipped == 0 {
            assert!(before > 2, "it was a plan of several steps");
            return;
        }
    }
}

/// Is told to stop as soon as one program has ended.
#[derive(Default)]
struct StopAfterOne(Option<()>);

impl Progress for StopAfterOne {
    fn begin(&mut self, _: Option<ChangeId>, _: &str) {}
    fn advance(&mut self, _: u64, _: u64) {
        self.0 = Some(());
    }
    fn end(&mut self, _: &Outcome) {}
    fn is_told_to_stop(&mut self) -> bool {
        self.0.is_some()
    }
}

/// lvmteam/lvm2#75: whoever is stopped by force amid a step of a thousand volumes kills LVM while it has devices suspended.
#[test]
fn a_stop_is_heeded_between_two_programs_of_one_step_and_the_next_apply_finishes() {
    let files = cafe(60);
    let prepared = prepare(&files);
    let room = Room::new();
    // The pool and the versions first: what is left is one step of many seats.
    room.settle(&cafe(1));
    let plan = compute(&prepared, &room.observe(&prepared));
    let context = context(&room, &prepared);
    let volumes = || room.observe(&prepared).vg.present().map_or(0, |vg| vg.lvs.len());
    let before = volumes();
    let report = apply(&room.host.system(), &plan, &context, &mut StopAfterOne::default());
    let made = volumes() - before;
    assert!(made > 0 && made <= 50, "{made} volumes were made by one program");
    assert!(report.outcomes.iter().all(|(_, _, outcome)| matches!(outcome, Outcome::Done | Outcome::Skipped(_))));
    let left_out = report.outcomes.iter().filter(|(_, _, outcome)| matches!(outcome, Outcome::Skipped(_))).count();
    assert!(left_out > 20, "{left_out} changes are left out");
    room.settle(&files);
    assert!(volumes() - before > 100);
}
