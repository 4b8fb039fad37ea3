//! The rules of `network/*.toml`: what must lie in a subnet and what must not meet.
//!
//! **Invariant:** in a site without errors every address belongs to at most one subnet, and no address that barista hands
//! out is the server's, a router's, or the subnet's own (RFC 2131 §4.3.1, RFC 919 §7).

use super::{
    Network, NetworkMode, Server,
    images::Images,
    options,
    raw::{AddressRange, NetworkFile, Spanned},
    report::{FileId, Place, Report, error, note, warning},
    settings::{self, Settings},
    table::Table,
};
use crate::names::{Interval, NetworkName};
use ipnet::Ipv4Net;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

const LEASE_TIME: Interval = Interval::seconds(12 * 3600);
/// A machine asks again after half of it; below two minutes that is a flood, and a slip of the unit.
const SHORTEST_LEASE: Interval = Interval::seconds(120);
const LONGEST_LEASE: Interval = Interval::seconds(365 * 86_400);
/// Replies to old ROMs must fit 576 bytes (RFC 2131 §2): eight addresses take 34 of them.
const MOST_NAME_SERVERS: usize = 8;

/// A network that is good in itself, and where its parts stand.
pub(super) struct Judged {
    pub(super) name: NetworkName,
    pub(super) network: Network,
    subnet_place: Place,
    range_place: Option<Place>,
    mode_place: Place,
    /// Machines with an address of this subnet.
    pub(super) reservations: usize,
}

/// All networks of a site.
#[derive(Default)]
pub(super) struct Networks {
    pub(super) by_name: BTreeMap<NetworkName, Judged>,
    /// True while every file was understood: only then is an address outside all subnets surely wrong.
    pub(super) whole: Whole,
    /// True once a machine's address was said to lie in none of them.
    has_outsider: bool,
    by_subnet: BTreeMap<(u8, Ipv4Addr), NetworkName>,
    /// Prefix lengths in use.
    prefixes: BTreeSet<u8>,
}

/// Whether everything of a kind was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Whole {
    /// All of it.
    #[default]
    Yes,
    /// Something is missing because its own problem was reported.
    No,
}

impl Networks {
    /// None yet, of files that were or were not all readable.
    pub(super) fn new(whole: Whole) -> Self {
        Self { whole, ..Self::default() }
    }

    /// The network that holds an address; the narrowest if several do.
    pub(super) fn find(&mut self, address: Ipv4Addr) -> Option<&mut Judged> {
        let name = self.prefixes.iter().rev().find_map(|prefix| {
            let subnet = Ipv4Net::new(address, *prefix).ok()?.network();
            self.by_subnet.get(&(*prefix, subnet))
        })?;
        self.by_name.get_mut(name)
    }

    /// Takes a network in, unless its subnet meets that of one already there.
    pub(super) fn add(&mut self, report: &mut Report<'_>, judged: Judged) {
        let subnet = judged.network.subnet;
        let meets = |other: &&Judged| other.network.subnet.contains(&subnet) || subnet.contains(&other.network.subnet);
        if let Some(other) = self.by_name.values().find(meets) {
            let both = [&judged, other].iter().all(|network| network.network.mode == NetworkMode::Server);
            let what = if both { "is served twice: it meets" } else { "meets" };
            let message = format!("subnet {subnet} {what} {} of network {}", other.network.subnet, other.name);
            let hint = "every address belongs to one network; the other is";
            report.push(error("subnets-overlap", judged.subnet_place, message).hint_at(hint, other.subnet_place));
        }
        self.prefixes.insert(subnet.prefix_len());
        self.by_subnet.insert((subnet.prefix_len(), subnet.network()), judged.name.clone());
        self.by_name.insert(judged.name.clone(), judged);
    }
}

/// Judges one file; `None` if what makes it a network is missing.
pub(super) fn judge(
    report: &mut Report<'_>,
    file: FileId,
    name: NetworkName,
    raw: &NetworkFile,
    around: &Settings,
) -> Option<Judged> {
    let root = Table::root(file);
    let whose = format!("network {name}");
    let ask = |hint| (whose.as_str(), hint);
    // Keys that fell below [options] are not called missing as well.
    let of = options::Of::Network(raw.mode.as_ref().map_or(NetworkMode::Server, |mode| mode.value));
    let options = options::judge(report, file, raw.options.as_ref(), of);
    let interface = root.need(report, &raw.interface, "interface", ask("add a line such as: interface = \"eno1\""));
    let mode = root.need(report, &raw.mode, "mode", ask("add mode = \"server\", \"proxy\" (beside a router's DHCP) or \"off\""));
    let subnet = root.need(report, &raw.subnet, "subnet", ask("add a line such as: subnet = \"192.168.1.0/24\""));
    let lease_time = judge_lease(report, root, raw.lease_time.as_ref());
    let dns = judge_dns(report, root, raw);
    if let Some(subnet) = subnet {
        judge_within(report, root, raw, subnet.value.0, around.server.as_ref());
    }
    let loading = settings::judge_loading(report, file, raw.loader.as_ref(), raw.pxe.as_ref()).over(&around.boot.loading);
    let (interface, mode, subnet) = (interface?, mode?, subnet?);
    warn_of_idle_keys(report, root, raw, mode.value);
    if interface.value.to_string() == "lo" && mode.value != NetworkMode::Off {
        let problem = warning("interface-of-this-host", root.of(interface), "lo is reached from this host alone");
        report.push(problem.hint("write the interface that faces the machines; `ip -br link` shows all"));
    }
    Some(Judged {
        subnet_place: root.of(subnet),
        mode_place: root.of(mode),
        range_place: raw.range.as_ref().map(|range| root.of(range)),
        reservations: 0,
        name,
        network: Network {
            interface: interface.value.to_string(),
            mode: mode.value,
            subnet: subnet.value.0,
            range: raw.range.as_ref().map(|range| (range.value.first, range.value.last)),
            router: raw.router.as_ref().map(|router| router.value.0),
            dns,
            domain: raw.domain.as_ref().map(|domain| domain.value.to_string()),
            lease_time,
            relay: raw.relay.iter().flat_map(|relay| &relay.value.0).map(|relay| relay.0).collect(),
            loading,
            options,
        },
    })
}

/// Warns of what another DHCP server says in place of this network's file.
fn warn_of_idle_keys(report: &mut Report<'_>, root: Table, raw: &NetworkFile, mode: NetworkMode) {
    fn place<T>(root: Table, field: &Option<Spanned<T>>) -> Option<Place> {
        field.as_ref().map(|field| root.of(field))
    }
    let (range, router, dns) = (place(root, &raw.range), place(root, &raw.router), place(root, &raw.dns));
    let (domain, lease) = (place(root, &raw.domain), place(root, &raw.lease_time));
    let idle = match mode {
        NetworkMode::Server => return,
        NetworkMode::Proxy => vec![("range", range), ("router", router), ("dns", dns), ("domain", domain), ("lease-time", lease)],
        // `barista export` hands the others to the server that answers.
        NetworkMode::Off => vec![("range", range)],
    };
    let idle: Vec<(&str, Place)> = idle.into_iter().filter_map(|(key, place)| Some((key, place?))).collect();
    let Some((first, place)) = idle.first() else { return };
    let (keys, has) = match idle.iter().map(|(key, _)| *key).collect::<Vec<_>>()[..] {
        [.., last] if idle.len() > 1 => {
            let rest = idle[..idle.len() - 1].iter().map(|(key, _)| *key).collect::<Vec<_>>().join(", ");
            (format!("{rest} and {last}"), "have")
        }
        _ => ((*first).to_owned(), "has"),
    };
    let message = format!("{keys} {has} no effect: this network's addresses come from another DHCP server");
    let code = if *first == "range" { "range-without-effect" } else { "keys-without-effect" };
    report.push(warning(code, *place, message).hint(format!("remove {keys}, or set mode = \"server\"")));
}

fn judge_lease(report: &mut Report<'_>, root: Table, field: Option<&Spanned<Interval>>) -> Interval {
    let Some(lease) = field else { return LEASE_TIME };
    if !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease.value) {
        let message = format!("lease-time {} is not between {SHORTEST_LEASE} and {LONGEST_LEASE}", lease.value);
        report.push(error("lease-time-bounds", root.of(lease), message).hint("write hours, such as \"12h\""));
    }
    lease.value
}

fn judge_dns(report: &mut Report<'_>, root: Table, raw: &NetworkFile) -> Vec<Ipv4Addr> {
    let Some(list) = &raw.dns else { return Vec::new() };
    let (mut servers, mut seen) = (Vec::new(), BTreeSet::new());
    for entry in &list.value {
        let address = entry.value.0;
        if !settings::is_reachable(address) {
            let message = format!("{address} is no name server a machine can ask");
            report.push(
                error("dns-not-reachable", root.of(entry), message)
                    .hint("write the server's or the router's address, or a public one"),
            );
        } else if !seen.insert(address) {
            report.push(
                error("duplicate-dns", root.of(entry), format!("name server {address} is listed twice"))
                    .hint("remove one of them"),
            );
        } else {
            servers.push(address);
        }
    }
    if servers.len() > MOST_NAME_SERVERS {
        let message = format!("{} name servers are more than the {MOST_NAME_SERVERS} a reply has room for", servers.len());
        report.push(error("too-many-dns", root.of(list), message).hint("machines ask the first two or three; remove the rest"));
    }
    servers
}

/// Judges what must lie within the subnet, and the range against it.
fn judge_within(report: &mut Report<'_>, root: Table, raw: &NetworkFile, subnet: Ipv4Net, server: Option<&Server>) {
    let own = [(subnet.network(), "network"), (subnet.broadcast(), "broadcast")];
    if let Some(router) = &raw.router {
        let address = router.value.0;
        if !subnet.contains(&address) {
            let message = format!("router {address} lies outside the subnet {subnet}");
            report.push(
                error("router-outside-subnet", root.of(router), message)
                    .hint("machines reach a router only within their own subnet"),
            );
        } else if let Some((_, what)) = own.iter().find(|(own, _)| *own == address) {
            let message = format!("router {address} is the {what} address of {subnet}");
            report.push(error("router-not-a-host", root.of(router), message).hint("write the router's own address"));
        }
    }
    for entry in raw.dns.iter().flat_map(|list| &list.value) {
        if let Some((address, what)) = own.iter().find(|(own, _)| *own == entry.value.0) {
            let message = format!("name server {address} is the {what} address of {subnet}");
            report.push(error("dns-not-a-host", root.of(entry), message).hint("write the name server's own address"));
        }
    }
    let Some(range) = &raw.range else { return };
    let AddressRange { first, last } = range.value;
    if !subnet.contains(&first) || !subnet.contains(&last) {
        let message = format!("range {} lies outside the subnet {subnet}", range.value);
        report.push(error("range-outside-subnet", root.of(range), message).hint(format!(
            "the subnet has {} to {}",
            subnet.network(),
            subnet.broadcast()
        )));
        return;
    }
    let router = raw.router.as_ref().map(|router| (router.value.0, "the router's"));
    let relays = raw.relay.iter().flat_map(|relay| &relay.value.0).map(|relay| (relay.0, "a relay's"));
    let taken = own.map(|(address, what)| (address, if what == "network" { "the subnet's network" } else { "the broadcast" }));
    let taken = taken.into_iter().chain(server_addresses(server)).chain(router).chain(relays);
    let held: Vec<String> = taken
        .filter(|(address, _)| range.value.contains(*address))
        .map(|(address, whose)| format!("{whose} address {address}"))
        .collect();
    let (message, hint) = match &held[..] {
        [] => return,
        [one] => {
            let hint = "it would be leased to a machine; let the range begin after it or end before it";
            (format!("range {} contains {one}", range.value), hint)
        }
        [rest @ .., last] => {
            let hint = "they would be leased to machines; let the range begin after them or end before them";
            (format!("range {} contains {} and {last}", range.value, rest.join(", ")), hint)
        }
    };
    report.push(error("range-contains-fixed-address", root.of(range), message).hint(hint));
}

/// The server's addresses, each once, and whose they are.
pub(super) fn server_addresses(server: Option<&Server>) -> impl Iterator<Item = (Ipv4Addr, &'static str)> + use<> {
    let all = server.map(|s| [s.address, s.tftp_address, s.http_address, s.iscsi_address]);
    let each: BTreeSet<Ipv4Addr> = all.into_iter().flatten().collect();
    each.into_iter().map(|address| (address, "the server's"))
}

/// Judges a reserved address; counts it for its network.
pub(super) fn judge_reservation(
    report: &mut Report<'_>,
    networks: &mut Networks,
    server: Option<&Server>,
    (place, address): (Place, Ipv4Addr),
) {
    let whole = networks.whole;
    let Some(judged) = networks.find(address) else {
        if whole == Whole::Yes {
            let subnets: Vec<String> = networks.by_name.values().take(4).map(|n| n.network.subnet.to_string()).collect();
            let hint = match subnets.is_empty() {
                true => "add network/lan.toml with interface, mode and subnet: no file describes a subnet yet".to_owned(),
                false => format!("subnets of this site: {}", subnets.join(", ")),
            };
            report.push(
                error("address-outside-subnets", place, format!("address {address} lies in no subnet of this site"))
                    .hint(hint)
                    .alike(""),
            );
            networks.has_outsider = true;
        }
        return;
    };
    judged.reservations += 1;
    let Judged { name, network: Network { subnet, range, router, relay, .. }, .. } = judged;
    if let (Some((first, last)), Some(at)) = (range, judged.range_place)
        && (*first..=*last).contains(&address)
    {
        let message = format!("address {address} lies in the dynamic range {first}-{last} of network {name}");
        let hint = "reserve an address outside of it, or shorten the range at";
        report.push(error("address-in-range", place, message).hint_at(hint, at).alike(name.as_str()));
    }
    let own = [(subnet.network(), "the network"), (subnet.broadcast(), "the broadcast")];
    let router = router.map(|router| (router, "the router's"));
    let relays = relay.iter().map(|relay| (*relay, "a relay's"));
    let mut taken = own.into_iter().chain(server_addresses(server)).chain(router).chain(relays);
    if let Some((_, whose)) = taken.find(|(taken, _)| *taken == address) {
        let message = format!("address {address} is {whose} address of network {name}");
        report.push(error("address-taken", place, message).hint("reserve another one"));
    }
}

/// Judges what needs all networks and all machines.
pub(super) fn judge_together(
    report: &mut Report<'_>,
    networks: &mut Networks,
    images: &Images,
    server: Option<(&Server, Place)>,
) {
    for judged in networks.by_name.values() {
        let Judged { name, network: Network { mode, range, .. }, .. } = judged;
        if *mode == NetworkMode::Server && range.is_none() && judged.reservations == 0 {
            let message = format!("network {name} has no address to hand out: no range, and no machine reserves one in it");
            report.push(warning("nothing-to-hand-out", judged.mode_place, message).hint("add a range, or give machines an ip"));
        }
    }
    note_unheard(report, networks, images);
    let Some((server, place)) = server else { return };
    if networks.whole == Whole::No {
        return;
    }
    if networks.by_name.is_empty() {
        // One cause: what is missing was said of the addresses that lie in nothing.
        if networks.has_outsider {
            return;
        }
        let problem = warning(
            "no-network",
            place,
            "the site has no network: no machine that asks for an address or a boot file is answered",
        );
        report.push(problem.hint("add network/lan.toml with interface, mode and subnet"));
        return;
    }
    let address = server.address;
    match networks.find(address) {
        None => {
            let message = format!("the server's address {address} lies in no subnet of this site");
            report.push(
                warning("server-outside-subnets", place, message).hint("machines reach it through their router, if at all"),
            );
        }
        Some(judged) if [judged.network.subnet.network(), judged.network.subnet.broadcast()].contains(&address) => {
            let message =
                format!("the server's address {address} is the network or broadcast address of {}", judged.network.subnet);
            report.push(error("server-not-a-host", place, message).hint("write the server's own address"));
        }
        Some(_) => {}
    }
}
/// Where firmware does not ask our DHCP, less shows that a machine boots again.
fn note_unheard(report: &mut Report<'_>, networks: &Networks, images: &Images) {
    let Some(image) = images.reset_at_boot() else { return };
    for judged in networks.by_name.values().filter(|judged| judged.network.mode == NetworkMode::Off) {
        let message = format!(
            "network {} is not asked for addresses: where a machine has no clean disk of {image} left, its boot waits about a minute, \
             until three fetches of its script show that it boots",
            judged.name
        );
        report.push(
            note("boot-not-heard", judged.mode_place, message)
                .hint("mode = \"proxy\" hears it ask, beside the DHCP server that is there"),
        );
    }
}
