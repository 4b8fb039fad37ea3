//! The documents as they stand on the wire.

use super::*;

fn image(name: &str) -> ImageName {
    name.parse().expect("an image")
}

#[test]
fn a_request_reads_as_it_was_written_and_as_it_is_specified() {
    let text = r#"{"version":1,"machine":"pc01","boot":"00000000000000ab","generation":"0011223344556677","peer":"192.168.1.101","uuid":null,"entries":["win11"],"claims":{"boot-id":"x","now":123456,"discovers":[{"at":1,"address":"192.168.1.101"},{"at":2,"address":null}],"issued":{"at":3,"peer":"192.168.1.101"},"fetches":[{"at":4,"peer":"192.168.1.101"}]},"budget":3000}"#;
    let request = Request::parse(text.as_bytes()).expect("it reads");
    assert_eq!(request.render(), format!("{text}\n"));
    assert_eq!((request.claims.discovers[1].address, request.claims.now), (None, Stamp(123_456)));
    let with = |uuid: &str| Request::parse(text.replace("null,\"entries\"", &format!("{uuid:?},\"entries\"")).as_bytes());
    assert!(with("4c4c4544-0042-4a10-8051-b3c04f564432").expect("it reads").uuid.is_some());
    for bad in ["", "4c4c454400424a108051b3c04f564432", "urn:uuid:4c4c4544-0042-4a10-8051-b3c04f564432", "zz"] {
        assert!(with(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn an_answer_reads_as_it_is_specified() {
    let text = r#"{"version":1,"entries":{"win11":{"assigned":{"target":"iqn.2026-11.example.cat:pc01.win11.a-01234567"}},"ubuntu":{"wait":{"code":"no-clean-side","retry":5,"detail":{"since":1}}},"old":{"refused":{"code":"other-hardware"}},"new":{"wait":{"code":"tea-time"}}}}"#;
    let Decided::Entries(entries) = Answer::parse(text.as_bytes()).expect("it reads").decided else { panic!("entries") };
    assert!(matches!(entries[&image("win11")], Assignment::Assigned { .. }));
    let Assignment::Wait { code, retry, detail } = &entries[&image("ubuntu")] else { panic!("it waits") };
    assert_eq!((*code, *retry, detail.len()), (WaitCode::NoCleanSide, 5, 1));
    assert_eq!(entries[&image("old")], Assignment::Refused { code: RefusalCode::OtherHardware, detail: Detail::new() });
    assert_eq!(entries[&image("new")], Assignment::wait(WaitCode::Other), "a newer agent has more reasons");
    let answer = Answer::entries(entries);
    assert_eq!(Answer::parse(answer.render().as_bytes()).expect("it reads"), answer);
    let again = Answer::parse(br#"{"version":1,"again":{"code":"generation"}}"#).expect("it reads");
    assert_eq!(again.decided, Decided::Again { code: AgainCode::Generation });
    assert_eq!(again.render(), "{\"version\":1,\"again\":{\"code\":\"generation\"}}\n");
}

#[test]
fn what_is_no_answer_is_none() {
    let long = format!(r#"{{"version":1,"entries":{{}}{}}}"#, " ".repeat(LONGEST));
    assert!(matches!(Answer::parse(long.as_bytes()), Err(DocumentError::TooLong)));
    assert!(matches!(Answer::parse(br#"{"version":2,"sides":{}}"#), Err(DocumentError::Version(2))));
    assert!(matches!(Answer::parse(br#"{"version":2,"entries":{}}"#), Err(DocumentError::Version(2))));
    let bad_target = r#"{"version":1,"entries":{"a":{"assigned":{"target":"iqn.2026-11.example.cat:a\nshell"}}}}"#;
    for text in ["", "[]", "{}", r#"{"version":1}"#, bad_target, r#"{"version":1,"entries":{"a b":{}}}"#] {
        assert!(matches!(Answer::parse(text.as_bytes()), Err(DocumentError::Malformed(_))), "{text}");
    }
}

/// iPXE takes apart what it is told (`core/exec.c`).
#[test]
fn every_reason_may_stand_in_a_script() {
    use RefusalCode as R;
    use WaitCode as W;
    let waits = [W::NoAgent, W::NoCleanSide, W::Making, W::NoSpace, W::Filling, W::Moving, W::TooMany, W::Held, W::Other];
    let waits = waits.map(WaitCode::words);
    let refusals = [R::OtherHardware, R::OtherAddress, R::NotInSite, R::Other].map(RefusalCode::words);
    for words in waits.into_iter().chain(refusals) {
        assert!(words.bytes().all(|byte| byte == b' ' || byte.is_ascii_alphanumeric() || b":,.".contains(&byte)), "{words}");
    }
    let patient = |retry| Assignment::Wait { code: W::Held, retry, detail: Detail::new() }.retry();
    assert_eq!((patient(0), patient(7), patient(86_400)), (1, 7, 60));
}

#[test]
fn a_generation_is_of_the_text_to_the_byte() {
    assert_eq!(Generation::of("").to_string(), "e3b0c44298fc1c14");
    assert_ne!(Generation::of("{}"), Generation::of("{}\n"));
}
