//! Decides what is known of a machine from two looks at it.
//!
//! **Invariant:** pure; in doubt a seat is in use. The initiator's session identifier tells firmware from operating system
//! (RFC 7143 §11.12.5: type, then an enterprise number or an OUI, then a qualifier).

use crate::observed::{Activity, Session};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How every session of iPXE begins: type "enterprise number" (0x40) and 10019, Fen Systems (ipxe `include/ipxe/iscsi.h`,
/// `ISCSI_ISID_IANA | IANA_EN_FEN_SYSTEMS`). The two octets after it are random.
const IPXE_ISID: &str = "40002723";

/// A session of the machine's previous run can stay on until LIO's NOPIN fails: nopin_timeout and nopin_response_timeout are
/// 15 s and 30 s, 60 s each at most. A session seen later than both after the script was fetched belongs to this run.
const DEAD_SESSION_LIFE: SignedDuration = SignedDuration::from_secs(120);

/// One look at one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// What was known then.
    pub activity: Activity,
    /// The session it had.
    pub session: Option<Session>,
    /// Commands on each of its LUNs.
    pub counters: BTreeMap<String, u64>,
}

impl Look {
    /// The same after the server booted: sessions and counters began anew.
    pub(super) fn after_boot(&self) -> Self {
        Self { session: None, counters: BTreeMap::new(), ..self.clone() }
    }
}

impl Activity {
    /// This with what an earlier look knew, where this one knows nothing.
    pub(super) fn later(self, known: Option<&Look>) -> Self {
        let known = known.map(|known| known.activity).unwrap_or_default();
        Self { script_fetched: self.script_fetched.max(known.script_fetched), ..known }
    }
}

/// Whether a session is iPXE's own and not an operating system's.
pub fn is_firmware(session: &Session) -> bool {
    session.isid.starts_with(IPXE_ISID)
}

/// Decides what is known of a machine now, from the last look at it and what is seen at `now`.
pub fn decide_activity(
    then: Option<&Look>,
    script_fetched: Option<Timestamp>,
    session: Option<&Session>,
    counters: &BTreeMap<String, u64>,
    now: Timestamp,
) -> Activity {
    let known = then.map(|then| then.activity).unwrap_or_default();
    let script_fetched = script_fetched.max(known.script_fetched);
    let before = then.and_then(|then| then.session.as_ref());
    let same =
        before.zip(session).is_some_and(|(before, session)| before.isid == session.isid && before.address == session.address);
    let is_of_this_run = then.is_some_and(|then| script_fetched.is_none_or(|fetched| then.at >= fetched + DEAD_SESSION_LIFE));
    let ended = before.is_some_and(|before| !same && !is_firmware(before)) && is_of_this_run;
    let is_new_run = script_fetched > known.script_fetched;
    Activity {
        script_fetched,
        session_since: session.map(|_| if same { known.session_since.unwrap_or(now) } else { now }),
        session_ended: if ended { Some(now) } else { known.session_ended.filter(|_| !is_new_run) },
        counters_moved: if moved(then, counters) { Some(now) } else { known.counters_moved },
    }
}

/// A counter that nobody has seen before began at zero, and so did one that is smaller than it was: its ACL was made anew.
fn moved(then: Option<&Look>, counters: &BTreeMap<String, u64>) -> bool {
    counters.iter().any(|(name, count)| {
        let before = then.and_then(|then| then.counters.get(name)).copied().unwrap_or(0);
        *count > 0 && *count != before
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn session(isid: &str) -> Session {
        Session { isid: isid.into(), address: "192.0.2.7".into(), since: None }
    }

    const WINDOWS: &str = "400001370000";
    const IPXE: &str = "40002723a1b2";

    fn look(second: i64, session: Option<Session>, activity: Activity) -> Look {
        Look { at: at(second), activity, session, counters: BTreeMap::new() }
    }

    fn decide(then: &Look, fetched: Option<i64>, now_session: Option<&Session>, now: i64) -> Activity {
        decide_activity(Some(then), fetched.map(at), now_session, &BTreeMap::new(), at(now))
    }

    #[test]
    fn ipxe_is_told_from_operating_systems_by_its_enterprise_number() {
        assert!(is_firmware(&session(IPXE)));
        assert!(!is_firmware(&session(WINDOWS)), "Microsoft is enterprise 311");
        assert!(!is_firmware(&session("00023d000001")), "open-iscsi sends an OUI");
    }

    #[test]
    fn an_operating_systems_session_that_is_gone_has_ended() {
        let then = look(300, Some(session(WINDOWS)), Activity { script_fetched: Some(at(0)), ..Activity::default() });
        assert_eq!(decide(&then, Some(0), None, 400).session_ended, Some(at(400)));
        assert_eq!(decide(&then, Some(0), Some(&session(WINDOWS)), 400).session_ended, None);
    }

    #[test]
    fn the_firmwares_session_never_ends_a_run() {
        let then = look(300, Some(session(IPXE)), Activity { script_fetched: Some(at(0)), ..Activity::default() });
        assert_eq!(decide(&then, Some(0), None, 400).session_ended, None);
    }

    #[test]
    fn a_dead_session_of_the_previous_run_does_not_end_this_one() {
        // The machine was reset: its script is fetched while the kernel still shows the old operating system's session.
        let then = look(20, Some(session(WINDOWS)), Activity::default());
        assert_eq!(decide(&then, Some(10), None, 50).session_ended, None);
        assert_eq!(decide(&then, Some(10), Some(&session(IPXE)), 50).session_ended, None);
    }

    #[test]
    fn a_new_fetch_forgets_the_end_of_the_run_before() {
        let ended = Activity { script_fetched: Some(at(0)), session_ended: Some(at(500)), ..Activity::default() };
        assert_eq!(decide(&look(510, None, ended), Some(0), None, 520).session_ended, Some(at(500)));
        assert_eq!(decide(&look(510, None, ended), Some(515), None, 520).session_ended, None);
    }

    #[test]
    fn a_session_is_known_since_it_was_first_seen() {
        let none = look(0, None, Activity::default());
        let first = decide(&none, None, Some(&session(IPXE)), 10);
        assert_eq!(first.session_since, Some(at(10)));
        let then = look(10, Some(session(IPXE)), first);
        assert_eq!(decide(&then, None, Some(&session(IPXE)), 20).session_since, Some(at(10)));
        assert_eq!(decide(&then, None, Some(&session(WINDOWS)), 20).session_since, Some(at(20)));
        assert_eq!(decide(&then, None, None, 20).session_since, None);
    }

    #[test]
    fn an_older_transcript_never_takes_a_fetch_back() {
        let then = look(0, None, Activity { script_fetched: Some(at(0)), ..Activity::default() });
        assert_eq!(decide(&then, None, None, 10).script_fetched, Some(at(0)));
        assert_eq!(decide(&then, Some(-50), None, 10).script_fetched, Some(at(0)));
    }
}
