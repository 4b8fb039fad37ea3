//! What the agent hears of DHCP: the DISCOVERs of a machine's firmware that were answered, through a relay, as server and beside one.

use crate::serve::netns::named;
use crate::{
    dhcp::{
        load::{Ask, RELAY, mac, start},
        wires::{SERVER, Wires, lan, room},
    },
    serve::{
        assign::{FakeAgent, TARGET, answers, assigned, own_path},
        http::get,
    },
};
use barista::{names::MacAddr, site::NetworkMode};
use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
};

const OUT: &str = "BARISTA_TEST_BOOT_OUT";

/// A machine's fetches, when this binary is run again inside a namespace.
#[test]
#[ignore = "the other test of this file runs it, in a namespace"]
fn the_boot_in_a_namespace() {
    let Some(out) = env::var_os(OUT) else { return };
    let server = SocketAddr::new(SERVER.parse().expect("an address"), 8080);
    let first = String::from_utf8(get(server, "/boot.ipxe").body).expect("text");
    let own = get(server, &own_path(&first, "02:00:00:00:00:01", "")).body;
    fs::write(out, own).expect("it is written");
}

#[test]
fn the_agent_is_told_of_the_firmwares_discovers_that_were_answered() {
    for (test, mode) in [("as", NetworkMode::Server), ("ap", NetworkMode::Proxy)] {
        let Some(mut wires) = Wires::of_two(test, "02:01:00:00:00:01") else { return };
        wires.ip("c", &format!("addr add {RELAY}/24 dev c0"));
        wires.publish(room(|table| {
            lan(table).mode = mode;
            table.version = 2;
            let machine = table.machines.values_mut().next().expect("a machine");
            // Two cards of one machine; the load's first machine is a stranger.
            machine.macs = [1, 2].map(|card| MacAddr::from_octets(mac(card)).expect("an address")).into();
            machine.ip = Some(RELAY.parse().expect("an address"));
            machine.script = "#!ipxe\n%wait:win11%\nsanhook %target:win11%\n".into();
            let disks = serde_json::json!({ "win11": { "target": null, "way": "assigned" } });
            machine.disks = serde_json::from_value(disks).expect("disks");
        }));
        let agent = FakeAgent::listen(wires.state.path(), answers(assigned()));
        wires.serve();
        start(&mut wires, "load", Ask::Discovers(3), "");
        wires.until("all three are answered", |wires| wires.read("load.out").lines().count() == 3);
        let program = env::current_exe().expect("this binary");
        let mut boot = wires.command("c", program.to_str().expect("UTF-8"));
        boot.args(["--ignored", "--exact", &named(module_path!(), "the_boot_in_a_namespace")]).env(OUT, wires.file("script"));
        wires.spawn("boot", boot);
        wires.until("the script is given", |wires| wires.read("script").contains("sanhook"));
        assert_eq!(wires.read("script"), format!("#!ipxe\nsanhook {TARGET}\n"));
        let asked = agent.asked();
        assert_eq!((asked.len(), asked[0].machine.as_str(), asked[0].peer.to_string().as_str()), (1, "pc01", RELAY));
        let claims = &asked[0].claims;
        let offered = match mode {
            NetworkMode::Server => Some(RELAY.parse::<Ipv4Addr>().expect("an address")),
            _ => None,
        };
        assert_eq!(claims.discovers.iter().map(|discover| discover.address).collect::<Vec<_>>(), [offered; 2], "{mode:?}");
        assert!(claims.discovers.iter().all(|discover| discover.at <= claims.issued.at), "{claims:?}");
    }
}
