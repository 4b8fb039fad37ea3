//! TFTP through a router whose other link takes shorter packets than the server's.

use crate::dhcp::wires::{SERVER, Wires, room};
use std::fs;

/// FOGProject/fogproject#455 and tinkerbell/smee#70: blocks as long as the server's own link takes did not pass a tunnel on the way,
/// and machines behind it waited for the first one.
#[test]
fn a_block_that_is_too_long_for_the_path_arrives_all_the_same() {
    let Some(mut wires) = Wires::make("mtu") else { return };
    wires.space("r");
    wires.space("c");
    wires.pair(("s", "s0"), ("r", "r1"));
    wires.pair(("r", "r0"), ("c", "c0"));
    for (space, words) in [
        ("s", "addr add 10.77.0.1/24 dev s0"),
        ("r", "addr add 10.77.0.254/24 dev r1"),
        ("r", "addr add 10.78.0.254/24 dev r0"),
        ("c", "addr add 10.78.0.5/24 dev c0"),
        ("r", "link set r0 mtu 1400"),
        ("s", "route add 10.78.0.0/24 via 10.77.0.254"),
        ("c", "route add default via 10.78.0.254"),
    ] {
        wires.ip(space, words);
    }
    let forward = wires.command("r", "sh").args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]).status();
    assert!(forward.is_ok_and(|status| status.success()));
    wires.publish(room(|_| {}));
    let loader: Vec<u8> = (0..100_000_u32).flat_map(|n| n.to_be_bytes()).take(100_000).collect();
    fs::write(wires.file("loaders/ipxe.efi"), &loader).expect("it is written");
    wires.serve();
    // The kernel remembers a path's MTU, and the first transfer must not be what teaches it.
    for round in 0..2 {
        let fetched = wires.file(&format!("fetched{round}"));
        let mut curl = wires.command("c", "curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--tftp-blksize", "1468", "-o"]).arg(&fetched);
        let output = curl.arg(format!("tftp://{SERVER}/ipxe.efi")).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(fs::read(&fetched).expect("a file") == loader);
    }
}
