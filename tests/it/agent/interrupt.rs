//! An apply that is told to stop.

use crate::room::{Room, cafe, compute, prepare};
use barista::host::{ApplyContext, CONFIGFS_DEADLINE, Progress, Scope, apply};
use barista::plan::{ChangeId, Outcome};

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
        let context = ApplyContext {
            fills: barista::host::Fills::Wait,
            state: room.state.path().to_owned(),
            image_store: Scope::image_store(&prepared, room.state.path()),
            configfs_deadline: CONFIGFS_DEADLINE,
        };
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
