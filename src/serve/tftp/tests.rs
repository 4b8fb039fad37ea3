//! Transfers as values: what a first datagram asks for, when what is sent, and how long what is waited for.

use super::{
    request::{Opening, ReadRequest, Refusal, parse_opening},
    retransmit::{Pace, Retransmit, Sent},
    session::{Next, Outcome, Outgoing, Session, Step},
};
use hyper::body::Bytes;
use std::time::Duration;

/// A file of a hundred blocks of 512 bytes, and an empty one.
const SIZE: usize = 100 * 512;

fn request(options: &[(&str, u32)]) -> ReadRequest {
    let options: String = options.iter().map(|(name, value)| format!("{name}\0{value}\0")).collect();
    read(&format!("octet|{options}"))
}

/// What stands behind the name, with `|` for the zeros.
fn read(mode_and_options: &str) -> ReadRequest {
    match parse_opening(format!("\0\u{1}ipxe.efi\0{}", mode_and_options.replace('|', "\0")).as_bytes()) {
        Opening::Read(request) => request,
        other => panic!("{other:?}"),
    }
}

fn open(options: &[(&str, u32)]) -> (Session, Step) {
    Session::open(&request(options), &Bytes::from(vec![7; SIZE]), 1468)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn ack(session: &mut Session, block: u16, at: Duration) -> Step {
    session.hear(&[&[0, 4], &block.to_be_bytes()[..]].concat(), at)
}

fn block(number: u64) -> Outgoing {
    Outgoing::Blocks { first: number, last: number }
}

fn wait(step: Step) -> Duration {
    match step.next {
        Next::Wait(wait) => wait,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_wait_is_a_second_and_then_what_the_round_trip_takes() {
    for (pace, least) in [(Pace::Blocks, ms(1000)), (Pace::Windows, ms(200))] {
        let mut waits = Retransmit::new(None, pace);
        let mut at = ms(0);
        assert_eq!(waits.begin(Sent::New, at), ms(1000), "nothing is measured");
        let mut trip = |takes| {
            at += takes;
            waits.heard(at);
            waits.begin(Sent::New, at)
        };
        assert_eq!(trip(ms(1)), least, "no wait is shorter");
        // RFC 6298: 7/8 of 1 ms and 1/8 of 401 ms; four times 3/4 of 0.5 ms and 1/4 of 400 ms.
        let expected = Duration::from_micros(51_000) + Duration::from_micros(100_375) * 4;
        assert_eq!(trip(ms(401)), expected.max(least));
        let steady = (0..60).map(|_| trip(ms(1300))).last().expect("many");
        assert!((ms(1300)..ms(1320)).contains(&steady), "{steady:?}: a steady link is waited for no longer than it takes");
    }
}

#[test]
fn a_measured_wait_is_short_once_and_a_silent_machine_is_left_after_half_a_minute() {
    for (window, expected) in [(1, &[1000, 2000, 4000, 8000, 8000, 8000][..]), (2, &[200, 2000, 4000, 8000, 8000, 8000, 800])] {
        let (mut session, _) = open(&[("windowsize", u32::from(window))]);
        ack(&mut session, 0, ms(1));
        let mut next = ack(&mut session, window, ms(2));
        let (mut at, mut waits) = (ms(2), Vec::new());
        while let Next::Wait(wait) = next.next {
            waits.push(wait);
            at += wait;
            next = session.time_out(at);
        }
        assert_eq!(waits, expected.iter().copied().map(ms).collect::<Vec<_>>());
        assert_eq!((next.next, at), (Next::Done(Outcome::GaveUp), ms(31_002)));
        assert_eq!(session.time_out(at).next, Next::Done(Outcome::GaveUp), "and stays gone");
    }
}

#[test]
fn what_was_sent_twice_is_not_measured_and_the_wait_stays_doubled_until_something_is() {
    let window = |first, last| Outgoing::Blocks { first, last };
    let (mut session, _) = open(&[("windowsize", 2)]);
    ack(&mut session, 0, ms(0));
    assert_eq!(wait(ack(&mut session, 2, ms(10))), ms(200));
    assert_eq!(session.time_out(ms(210)).send, window(3, 4));
    // Of which of the two? After the first it took 300 ms, after the second 100.
    assert_eq!(wait(ack(&mut session, 4, ms(310))), ms(400), "neither 100 nor 300 ms");
    let measured = wait(ack(&mut session, 6, ms(610)));
    assert!(measured > ms(300), "{measured:?}: a link that became slow is learned");
    assert_eq!(session.time_out(ms(610) + measured).send, window(7, 8));
}

#[test]
fn the_options_measure_nothing_for_a_rom_prepares_itself_meanwhile() {
    let (mut session, first) = open(&[("blksize", 512)]);
    assert_eq!((first.send, wait(first)), (Outgoing::Options, ms(1000)));
    let step = ack(&mut session, 0, ms(5));
    assert_eq!((step.send, wait(step)), (block(1), ms(1000)));
    assert_eq!(wait(ack(&mut session, 1, ms(7))), ms(1000));

    let (mut session, _) = open(&[("blksize", 512)]);
    let again = session.time_out(ms(1000));
    assert_eq!((again.send, wait(again)), (Outgoing::Options, ms(2000)));
    assert_eq!(wait(ack(&mut session, 0, ms(1001))), ms(2000), "a second was too short, for all that is known");
    assert_eq!(wait(ack(&mut session, 1, ms(1002))), ms(1000));
}

#[test]
fn the_wait_a_machine_asked_for_stays_whatever_the_link_takes() {
    let (mut session, first) = open(&[("timeout", 3)]);
    assert_eq!(wait(first), ms(3000));
    assert_eq!(wait(ack(&mut session, 0, ms(1))), ms(3000));
    assert_eq!(wait(ack(&mut session, 1, ms(2))), ms(3000));
    assert_eq!(wait(session.time_out(ms(3002))), ms(6000));
    assert_eq!(wait(ack(&mut session, 2, ms(3003))), ms(3000));

    let (mut session, first) = open(&[("timeout", 255)]);
    assert_eq!(wait(first), ms(255_000));
    let again = session.time_out(ms(255_000));
    assert_eq!((again.send, wait(again)), (Outgoing::Options, ms(255_000)), "everything is sent twice at least");
    assert_eq!(session.time_out(ms(510_000)).next, Next::Done(Outcome::GaveUp));
}

#[test]
fn a_duplicate_sends_nothing_and_does_not_move_the_wait() {
    let (mut session, _) = open(&[]);
    ack(&mut session, 1, ms(1));
    let duplicate = ack(&mut session, 1, ms(100));
    assert_eq!((duplicate.send, duplicate.next), (Outgoing::Nothing, Next::WaitOn));
    assert_eq!(session.time_out(ms(1001)).send, block(2));
    assert_eq!(ack(&mut session, 1, ms(1002)).send, block(2), "after a time-out it asks");
    assert_eq!(ack(&mut session, 1, ms(1003)).send, Outgoing::Nothing, "once");
}

/// raspberrypi/firmware#1631: the loader of a Raspberry Pi 4 took the second copy of a block for the next one and hung, once in
/// twenty or thirty boots: a server of a short wait had sent the block again while the loader paused.
#[test]
fn a_loader_that_pauses_for_most_of_a_second_between_blocks_is_sent_each_of_them_once() {
    for options in [&[][..], &[("blksize", 1024), ("tsize", 0)], &[("windowsize", 1)]] {
        let (mut session, mut step) = open(options);
        let (mut at, mut sent, mut acked) = (ms(0), 0, 0);
        while step.next != Next::Done(Outcome::Complete) {
            let pause = if acked % 20 == 10 { ms(250) } else { ms(u64::from(acked % 30 == 29) * 900 + 1) };
            assert!(wait(step) > pause, "block {acked}: {:?} is too short", wait(step));
            at += pause;
            if let Outgoing::Blocks { first, last } = step.send {
                assert_eq!((first, last), (sent + 1, sent + 1));
                (sent, acked) = (last, acked + 1);
            }
            step = ack(&mut session, acked, at);
        }
        assert!(sent >= 50, "{sent}");
    }
}

#[test]
fn a_window_goes_on_from_where_the_machine_is_and_its_lost_end_comes_again_soon() {
    let window = |first, last| Outgoing::Blocks { first, last };
    let (mut session, _) = open(&[("windowsize", 8)]);
    let step = ack(&mut session, 0, ms(1));
    assert_eq!((step.send, wait(step)), (window(1, 8), ms(1000)));
    let step = ack(&mut session, 5, ms(2));
    assert_eq!((step.send, wait(step)), (Outgoing::Nothing, ms(5)), "block 6 was lost (RFC 7440 §4), or the rest is on its way");
    let step = session.time_out(ms(7));
    assert_eq!((step.send, wait(step)), (window(6, 13), ms(200)));
    // Block 13 is lost: the machine has nothing to say.
    assert_eq!(session.time_out(ms(207)).send, window(6, 13));
    let step = ack(&mut session, 13, ms(208));
    assert_eq!((step.send, wait(step)), (window(14, 21), ms(400)), "two windows that were not all new measure nothing");
    assert_eq!(wait(ack(&mut session, 21, ms(209))), ms(200));
}

#[test]
fn datagrams_lie_one_after_the_other_and_the_last_may_be_short() {
    let open = |options: &[(&str, u32)], size: usize| Session::open(&request(options), &Bytes::from(vec![7; size]), 1468).0;
    let mut buffer = Vec::new();
    let mut session = open(&[("windowsize", 3), ("blksize", 8)], 20);
    let options = session.lay_out(Outgoing::Options, &mut buffer);
    assert_eq!((options.each, options.bytes.len()), (25, 25), "longer than a block");
    let step = ack(&mut session, 0, ms(1));
    let blocks = session.lay_out(step.send, &mut buffer);
    assert_eq!(blocks.each, 12);
    let expected = [&[0, 3, 0, 1][..], &[7; 8], &[0, 3, 0, 2], &[7; 8], &[0, 3, 0, 3], &[7; 4]].concat();
    assert_eq!(blocks.bytes, expected);
    assert!(session.lay_out(Outgoing::Nothing, &mut buffer).bytes.is_empty());
}

#[test]
fn an_option_that_does_not_read_costs_itself_and_no_boot() {
    for broken in ["abc", "-1", "1468 ", "", "99999999999999999999"] {
        let wishes = read(&format!("octet|blksize|{broken}|tsize|0|")).wishes;
        assert_eq!((wishes.blksize, wishes.tsize), (None, Some(0)), "{broken:?}");
    }
    for padding in ["|", "||", "|||", "junk", "tsize|", "tsize|0"] {
        let wishes = read(&format!("OcTeT|BlkSize|1024|{padding}")).wishes;
        assert_eq!((wishes.blksize, wishes.tsize), (Some(1024), None), "{padding:?}");
    }
    assert_eq!(read("octet|blksize|1024|BLKSIZE|512|").wishes.blksize, Some(1024), "the first");
    assert_eq!(
        parse_opening(b"\0\x01\xe9.efi\0octet\0"),
        Opening::Read(ReadRequest { name: "\u{fffd}.efi".into(), ..read("octet|") })
    );
    for unfinished in [&b"\0\x01ipxe.efi"[..], b"\0\x01ipxe.efi\0", b"\0\x01ipxe.efi\0octet"] {
        assert_eq!(parse_opening(unfinished), Opening::Refuse(Refusal::Malformed));
    }
}

#[test]
fn a_machine_that_ends_a_transfer_is_sent_nothing_more_whatever_reason_it_gives() {
    for error in [&b"\0\x05\0\0TFTP Aborted\0"[..], b"\0\x05\0\x08", b"\0\x05\0\x09why\0", b"\0\x05\xff\xff", b"\0\x05"] {
        let (mut session, _) = open(&[("tsize", 0)]);
        assert_eq!(session.hear(error, ms(1)).next, Next::Done(Outcome::Probe), "{error:?}");
        let (mut session, _) = open(&[]);
        ack(&mut session, 1, ms(1));
        assert_eq!(session.hear(error, ms(2)).next, Next::Done(Outcome::Aborted), "{error:?}");
    }
}

/// How a machine says that a block is not the one it expects (RFC 7440 §4 leaves it open).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeats {
    /// It acknowledges the last good block for each, as EDK2 does.
    ForEachBlock,
    /// It acknowledges the last good block once, as iPXE and U-Boot do.
    Once,
}

/// What the network does to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Delivers,
    Loses,
    Doubles,
    /// It comes behind the next one.
    Delays,
}

/// A machine that receives in windows over such a network; how many blocks were sent for each that it took.
fn receive(window: u32, size: usize, repeats: Repeats, mut network: impl FnMut(u64) -> Network) -> f64 {
    let (mut session, _) = Session::open(&request(&[("windowsize", window)]), &Bytes::from(vec![7; size]), 1468);
    let (mut at, mut wanted, mut in_window, mut has_said, mut sent) = (ms(1), 1, 0, false, 0);
    let mut steps = vec![ack(&mut session, 0, at)];
    let mut wire = std::collections::VecDeque::new();
    let last_block = size as u64 / 512 + 1;
    loop {
        for step in std::mem::take(&mut steps) {
            if step.next == Next::Done(Outcome::Complete) {
                return sent as f64 / last_block as f64;
            }
            let Outgoing::Blocks { first, last } = step.send else { continue };
            for block in first..=last {
                sent += 1;
                match network(sent) {
                    Network::Delivers => wire.push_back(block),
                    Network::Loses => {}
                    Network::Doubles => wire.extend([block, block]),
                    Network::Delays => {
                        wire.push_back(block + 1);
                        wire.push_back(block);
                    }
                }
            }
        }
        at += ms(1);
        let Some(block) = wire.pop_front() else {
            steps.push(session.time_out(at));
            assert_ne!(steps[0].next, Next::Done(Outcome::GaveUp), "at block {wanted}");
            continue;
        };
        if block > last_block {
            continue;
        }
        let says = if block == wanted {
            (wanted, in_window, has_said) = (wanted + 1, in_window + 1, false);
            in_window == window || block == last_block
        } else {
            let says = repeats == Repeats::ForEachBlock || !has_said;
            has_said = true;
            says
        };
        if says {
            in_window = 0;
            steps.push(ack(&mut session, (wanted - 1) as u16, at));
        }
    }
}

#[test]
fn one_block_that_is_lost_doubled_or_late_costs_two_windows_at_most_and_none_is_sent_twice_from_there_on() {
    for repeats in [Repeats::ForEachBlock, Repeats::Once] {
        for window in [1, 2, 4, 8, 16, 64] {
            for odd in [Network::Loses, Network::Doubles, Network::Delays] {
                for at in [1, 2, 3, 5, 40] {
                    let network = |sent| if sent == at { odd } else { Network::Delivers };
                    let blocks = receive(window, 512 * 2000, repeats, network);
                    let most = 1.0 + f64::from(2 * window + 2) / 2000.0;
                    assert!(
                        blocks <= most,
                        "{repeats:?}, windowsize {window}, block {at} {odd:?}: {blocks} times as many blocks"
                    );
                }
                // One in a hundred: what follows a lost one in its window is sent again, and nothing else.
                let network = |sent: u64| if sent.is_multiple_of(101) { odd } else { Network::Delivers };
                let blocks = receive(window, 512 * 20_000, repeats, network);
                let most = 1.015 + 0.02 * f64::from(window);
                assert!(blocks <= most, "{repeats:?}, windowsize {window}, 1 % {odd:?}: {blocks} times as many blocks");
            }
        }
    }
}

#[test]
fn repeated_acknowledgements_send_a_window_once_and_soon() {
    let window = |first, last| Outgoing::Blocks { first, last };
    let (mut session, _) = open(&[("windowsize", 4)]);
    ack(&mut session, 0, ms(1));
    assert_eq!(ack(&mut session, 4, ms(2)).send, window(5, 8));
    let first = ack(&mut session, 4, ms(3));
    assert_eq!((first.send, wait(first)), (Outgoing::Nothing, ms(5)), "what is on its way may come");
    for _ in 0..100 {
        assert_eq!(ack(&mut session, 4, ms(4)), super::session::Step { send: Outgoing::Nothing, next: Next::WaitOn });
    }
    let again = session.time_out(ms(8));
    assert_eq!((again.send, wait(again)), (window(5, 8), ms(200)));
    assert_eq!(ack(&mut session, 4, ms(9)).send, Outgoing::Nothing);
    assert_eq!(ack(&mut session, 8, ms(10)).send, window(9, 12));
}

#[test]
fn binary_is_octet() {
    assert_eq!(read("binary|"), read("octet|"));
    assert_eq!(parse_opening(b"\0\x01x\0mail\0"), Opening::Refuse(Refusal::Mode));
}

/// netbootxyz/netboot.xyz#1198, garybowers/bootimus#117: beside a DHCP server that ends option 67 without a zero, a ROM of ten years asks
/// for the option list's end too.
#[test]
fn a_name_with_the_end_of_the_option_list_behind_it_is_the_name() {
    let name = |name: &[u8]| match parse_opening(&[b"\0\x01", name, b"\0octet\0"].concat()) {
        Opening::Read(request) => request.name,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(b"ipxe.efi\xff"), "ipxe.efi");
    assert_eq!(name(b"ipxe.efi"), "ipxe.efi");
    // rhboot/shim#696: shim 15.8 asks for a name with rubbish within it, and goes on where that is refused at once: it stays another.
    assert_ne!(name(b"grub/\xffOnboard"), "grub/Onboard");
}

/// raspberrypi/rpi-eeprom#720: a client whose blocks do not go beyond 65535. Our largest file stays below it with the usual block.
#[test]
fn no_transfer_wraps_with_the_block_that_firmware_asks_for() {
    let blocks_of = |size: u64| crate::serve::loader_files::LARGEST / size;
    assert!(blocks_of(1468) < 65_535);
    assert!(blocks_of(1024) >= 65_535, "with smaller blocks it does, as the book says");
}
