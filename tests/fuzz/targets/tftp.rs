//! Datagrams at the port of TFTP: the first line of the input opens a transfer, each further one is what the client says next.
#![no_main]

use barista::serve::tftp::{
    request::{Opening, parse_opening},
    session::{Next, Session},
};
use hyper::body::Bytes;
use libfuzzer_sys::fuzz_target;
use std::{sync::LazyLock, time::Duration};

/// The largest block of an Ethernet frame, which the service allows on a link of 1,500 bytes.
const LARGEST_BLOCK: usize = 1468;

static FILE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![7; 5000]));

fuzz_target!(|input: &[u8]| {
    let mut datagrams = input.split(|byte| *byte == b'\n');
    let request = match parse_opening(datagrams.next().unwrap_or_default()) {
        Opening::Read(request) => request,
        _ => return,
    };
    let (mut session, first) = Session::open(&request, &FILE, LARGEST_BLOCK);
    let mut step = first;
    let mut buffer = Vec::new();
    for (count, datagram) in datagrams.take(64).enumerate() {
        let sent = session.lay_out(step.send, &mut buffer);
        let packets = sent.bytes.chunks(sent.each);
        assert!(packets.len() <= 64, "{} packets for one", packets.len());
        assert!(packets.into_iter().all(|packet| packet.len() <= LARGEST_BLOCK + 4));
        if matches!(step.next, Next::Done(_)) {
            return;
        }
        let at = Duration::from_millis(100 * count as u64);
        step = if datagram.is_empty() { session.time_out(at) } else { session.hear(datagram, at) };
    }
});
