//! Answers what all DHCP sockets receive: asks the pure files for a decision, keeps the leases, and records what happened.
//!
//! **Invariant:** decides nothing itself; a lease changes only as a decision or a conflict says. EFFECTS: the clock, the transcript.

use super::{
    address_conflict::{AddressConflicts, Conflict},
    allocate::Allocation,
    arp::Claim,
    chainload_loop::ChainloadLoops,
    classify::Client,
    clock::LeaseClock,
    decide::decide,
    describe::{address_seen, describe, event_kind, is_worth_recording, offer_to_a_boot, service_name},
    leases::{Holding, LeaseChange, Leases},
    model::{Answer, Arrival, BootInfo, Decision, IgnoreReason, Note, Offering, Port, Reply, Whose},
    packet::{MessageKind, Request, parse},
    promises::Promise,
    router_advertisement::AwaitingRouter,
    server_reply::ServerReply,
    silence::{self, Silences},
    socket::{Datagram, Socket},
};
use crate::{
    boot::table::{BootTable, FixedTable, Network},
    desired::NetworkMode,
    names::{MacAddr, NetworkName},
    serve::{Boots, Happening, Recorder, Served},
    transcript::{self, SERVERS_KEPT, ServerKind},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

/// The operator is warned of the same server again after this.
const WARNED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// What a request leads to.
pub(super) struct Response {
    /// What the client is told.
    pub reply: Option<Reply>,
    /// What changes in the leases.
    pub change: Option<LeaseChange>,
    /// What the reply promises.
    pub promise: Promise,
    /// An address to ask after, once the reply has left.
    pub probe: Option<Ipv4Addr>,
}

/// Whoever owns the leases.
pub(super) struct DhcpService {
    leases: Leases,
    clock: LeaseClock,
    conflicts: AddressConflicts,
    silences: Silences,
    chainload_loops: ChainloadLoops,
    waiting: AwaitingRouter,
    recorder: Arc<Recorder>,
    boots: Arc<Boots>,
    /// Other servers, and when the operator was last warned of each.
    warned: BTreeMap<Ipv4Addr, Timestamp>,
}

impl DhcpService {
    /// A service with these leases, and nothing heard yet.
    pub fn new(leases: Leases, clock: LeaseClock, recorder: Arc<Recorder>, boots: Arc<Boots>) -> Self {
        leases.changes().for_each(|change| boots.note_lease(change));
        Self {
            leases,
            clock,
            silences: Silences::default(),
            conflicts: AddressConflicts::default(),
            chainload_loops: ChainloadLoops::default(),
            waiting: AwaitingRouter::default(),
            recorder,
            boots,
            warned: BTreeMap::new(),
        }
    }

    /// The leases as they are.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Answers a request.
    pub fn answer(&mut self, socket: &Socket, datagram: &Datagram, served: &Served) -> Response {
        let request = match parse(&datagram.bytes) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!(interface = socket.interface, source = %datagram.source, %error, "no DHCP request");
                return Response { reply: None, change: None, promise: Promise::New, probe: None };
            }
        };
        let addresses = socket.addresses();
        let arrival = Arrival {
            interface: &socket.interface,
            addresses: &addresses,
            destination: datagram.destination,
            source: datagram.source,
            port: socket.port,
        };
        let now = self.clock.now();
        self.boots.take_loader_fetches().into_iter().for_each(|from| self.chainload_loops.note_fetch(from, now));
        if let (MessageKind::Request, Some(address)) = (request.kind, request.requested.or(request.ciaddr)) {
            self.chainload_loops.note_address(request.mac, address);
        }
        let offering = Offering {
            table: &served.table,
            loaders: &served.loaders,
            http: served.http,
            chainload_loops: &self.chainload_loops,
        };
        let decision = decide(&request, &arrival, offering, &self.leases, now);
        let promise = self.promise(decision.change, now);
        if let Some(change) = decision.change {
            self.change(change);
        }
        self.record(&request, &decision, socket, &served.table);
        if let Some(offer) = offer_to_a_boot(&request, &decision) {
            let address = Some(offer.yiaddr).filter(|ip| !ip.is_unspecified());
            self.boots.note_discover(&served.table, request.mac, address);
        }
        if let Answer::Ignore(IgnoreReason::NoAddress(_)) = decision.answer
            && served.table.machine(request.mac).is_some()
            && request.giaddr.is_none()
        {
            self.silences.lack(&socket.interface, now);
        }
        let awaited = self.await_other_card(&request, &decision, &arrival, socket, &served.table);
        let probe = awaited.or_else(|| match (&decision.answer, decision.change, decision.client, request.giaddr) {
            // Whether its machine did give it back, or decline it: who uses it answers.
            (Answer::Noted(_), Some(LeaseChange::Quarantine { ip, .. } | LeaseChange::Decline { ip, .. }), _, None) => Some(ip),
            // Two machines may use it: the operator is told of the other.
            (Answer::Ignore(IgnoreReason::LateDecline(ip)), _, _, None) => Some(*ip),
            // Beside the offer, of an address that is new to a client which is in no hurry; a boot relies on what the walk
            // through the range has shown.
            (Answer::Offer(reply), Some(LeaseChange::Offer { .. }), Client::Plain, None) => {
                Some(reply.yiaddr).filter(|ip| served.table.machine(request.mac).and_then(|(_, machine)| machine.ip) != Some(*ip))
            }
            _ => None,
        });
        let reply = match decision.answer {
            Answer::Offer(reply) | Answer::Ack(reply) | Answer::Nak(reply, _) => Some(reply),
            Answer::Noted(_) | Answer::Ignore(_) => None,
        };
        let whose = Whose::of(&served.table, request.mac);
        match &reply {
            Some(Reply { boot: Some(BootInfo::Script(_)), .. }) => self.waiting.note(request.mac, whose, now),
            Some(Reply { boot: Some(BootInfo::BetterIpxe(_)), yiaddr, .. }) => {
                self.waiting.note(request.mac, whose, now);
                let address = Some(*yiaddr).filter(|ip| !ip.is_unspecified());
                self.chainload_loops.note(request.mac, whose, (request.xid, address), now);
            }
            _ => {}
        }
        Response { reply, change: decision.change, promise, probe }
    }

    /// The address to ask after at once, where a machine boots through another card than the one that leases its address.
    fn await_other_card(
        &mut self,
        request: &Request,
        decision: &Decision,
        arrival: &Arrival<'_>,
        socket: &Socket,
        table: &FixedTable,
    ) -> Option<Ipv4Addr> {
        let is_boot = matches!(request.kind, MessageKind::Discover | MessageKind::Bootp) && decision.client != Client::Plain;
        let is_asking = is_boot && request.giaddr.is_none();
        let now = self.clock.now();
        let held = our_networks(table, arrival).filter(|_| is_asking).find_map(|(_, network)| {
            let own = allocation(table, network, arrival, &self.leases, request.mac, now);
            own.held_by_other_card().filter(|ip| !self.leases.is_silent(*ip, now))
        })?;
        let is_new = self.silences.await_card(&socket.interface, held, now);
        if is_new {
            let what = format!(
                "boots through another card than the one that leases {held}: that one is asked after by ARP, and keeps it while it answers"
            );
            self.recorder.record_overheard(request.mac, on(socket), what);
        }
        is_new.then_some(held)
    }

    /// What a change promises its client beyond what it has.
    fn promise(&self, change: Option<LeaseChange>, now: Timestamp) -> Promise {
        let Some(LeaseChange::Bind { ip, mac, .. }) = change else { return Promise::New };
        match self.leases.live(ip, now) {
            Some(Holding::Bound { mac: holder, .. }) if holder == mac => Promise::Renewal,
            _ => Promise::New,
        }
    }

    /// Makes one change, and lets the other services know whose address it is.
    fn change(&mut self, change: LeaseChange) {
        self.leases.apply(change);
        self.boots.note_lease(change);
    }

    fn record(&mut self, request: &Request, decision: &Decision, socket: &Socket, table: &FixedTable) {
        let (interface, mac) = (&socket.interface, request.mac);
        if request.kind == MessageKind::Discover && request.giaddr.is_none() && decision.client != Client::Plain {
            self.recorder.record_question(interface);
        }
        if let (Answer::Ignore(IgnoreReason::OtherServer(server)), MessageKind::Request, Port::Dhcp) =
            (&decision.answer, request.kind, socket.port)
            && !self.is_door_of_ours(socket, *server, table)
        {
            self.record_server(*server, ServerKind::Dhcp, socket, table, format!("{mac} took its address of server {server}"));
        }
        let what = describe(request, decision);
        if !is_worth_recording(decision) {
            tracing::debug!(%mac, interface, "{what}");
            return;
        }
        if let Answer::Noted(Note::DeclinedReservation(_)) = decision.answer {
            tracing::warn!(%mac, interface, "{what}");
        }
        let service = service_name(&decision.answer, socket.port);
        let kind = event_kind(request, decision);
        // Whoever says that a reserved address is its own is not believed.
        let is_own =
            |ip: &Ipv4Addr| !table.is_reserved(*ip) || table.machine(mac).is_some_and(|(_, machine)| machine.ip == Some(*ip));
        let address = address_seen(request, decision).filter(is_own);
        self.recorder.record(mac, source(request, socket), address, Happening { service, kind, what });
    }

    /// Whether a machine's iPXE has just been told what to boot, and may be looking for an IPv6 router first.
    pub fn is_waiting(&self, mac: MacAddr) -> bool {
        self.waiting.contains(mac, self.clock.now())
    }

    /// Takes note of somebody who says that an address is its own.
    pub fn overhear_claim(&mut self, socket: &Socket, claim: Claim, served: &Served) -> Option<LeaseChange> {
        if socket.is_own(claim.mac) {
            return None;
        }
        self.silences.heard(claim.ip);
        self.leases.note_sign(claim.ip);
        let now = self.clock.now();
        let addresses = socket.addresses();
        let arrival = arrival(socket, &addresses);
        let (_, network) = our_networks(&served.table, &arrival).find(|(_, network)| network.subnet.contains(&claim.ip))?;
        let allocation = allocation(&served.table, network, &arrival, &self.leases, claim.mac, now);
        let conflict = self.conflicts.judge(claim, &allocation)?;
        match conflict {
            // Each of them again every ten minutes, for as long as it is on: nothing that an operator can mend.
            Conflict::Overdue { .. } | Conflict::Lasting { .. } => tracing::debug!(interface = socket.interface, "{conflict}"),
            _ => {
                tracing::warn!(interface = socket.interface, "{conflict}");
                self.recorder.record_overheard(conflict.concerns(), on(socket), conflict.to_string());
            }
        }
        let change = Conflict::change(conflict, now)?;
        self.change(change);
        Some(change)
    }

    /// Takes note of what another server said.
    pub fn overhear_reply(&mut self, socket: &Socket, heard: ServerReply, table: &FixedTable) {
        if socket.addresses().contains(&heard.server) || self.is_door_of_ours(socket, heard.server, table) {
            return;
        }
        self.record_server(heard.server, heard.kind(), socket, table, heard.to_string());
        // Beside a router's DHCP its every word to every telephone is nothing to write down.
        if table.machine(heard.client).is_some() || find_mode(table, &socket.interface) == Some(NetworkMode::Server) {
            self.recorder.record_overheard(heard.client, on(socket), heard.to_string());
        }
    }

    /// Whether it is another port of this service that speaks here, which is no other server, but two interfaces on one
    /// wire, where a machine takes an address of whichever port answers first.
    fn is_door_of_ours(&mut self, socket: &Socket, server: Ipv4Addr, table: &BootTable) -> bool {
        let answers_on = |other: &String| find_mode(table, other).is_some_and(|mode| mode != NetworkMode::Off);
        let Some(other) = socket.elsewhere(server).filter(answers_on) else { return false };
        if self.is_time_to_warn(server) {
            let interface = &socket.interface;
            tracing::warn!(
                interface,
                other,
                "two interfaces of this server are on one wire, and machines there hear both networks"
            );
        }
        true
    }

    /// Whether the operator has not been warned of a server for a while.
    fn is_time_to_warn(&mut self, server: Ipv4Addr) -> bool {
        let now = self.clock.now();
        self.warned.retain(|_, warned| *warned + WARNED_FOR > now);
        let is_new = !self.warned.contains_key(&server) && self.warned.len() < SERVERS_KEPT;
        if is_new {
            self.warned.insert(server, now);
        }
        is_new
    }

    fn record_server(&mut self, server: Ipv4Addr, kind: ServerKind, socket: &Socket, table: &BootTable, what: String) {
        let interface = &socket.interface;
        self.recorder.record_server(server, kind, interface, what.clone());
        let is_wrong = kind == ServerKind::Dhcp && find_mode(table, interface) == Some(NetworkMode::Server);
        if is_wrong && self.is_time_to_warn(server) {
            tracing::warn!(interface, %server, "another DHCP server answers here, and machines may take its word for ours: {what}");
        }
    }

    /// The next free addresses of this wire that are asked after by ARP.
    pub fn ask_after(&mut self, socket: &Socket, served: &Served) -> Vec<Ipv4Addr> {
        if socket.port != Port::Dhcp {
            return Vec::new();
        }
        let now = self.clock.now();
        let addresses = socket.addresses();
        let arrival = arrival(socket, &addresses);
        // Nobody's card: only what is free for whoever comes is asked after.
        let Ok(nobody) = MacAddr::from_octets([2, 0, 0, 0, 0, 0]) else { return Vec::new() };
        let cards = self.silences.ask_cards(&socket.interface, now);
        let (mut asked, mut silent) = (cards.ask, cards.silent);
        for (name, network) in our_networks(&served.table, &arrival) {
            let Some((first, last)) = network.range else { continue };
            let allocation = allocation(&served.table, network, &arrival, &self.leases, nobody, now);
            asked.extend(
                self.conflicts.next(name, network, |ip| self.leases.live(ip, now).is_none() && allocation.is_dynamic(ip)),
            );
            asked.extend(AddressConflicts::next_withheld(&self.leases, (first, last), now));
            let is_strangers = |ip: &Ipv4Addr| {
                let leased = matches!(self.leases.live(*ip, now), Some(Holding::Bound { mac, .. }) if allocation.can_spare(mac));
                leased && allocation.is_dynamic(*ip)
            };
            let strangers = |behind| self.leases.behind(behind, last).map(|(ip, _)| ip).filter(is_strangers);
            let round = self.silences.ask(&socket.interface, (first, last), now, strangers);
            asked.extend(round.ask);
            silent.extend(round.silent);
        }
        let until = now.checked_add(silence::COUNTS_FOR).unwrap_or(Timestamp::MAX);
        silent.into_iter().for_each(|ip| self.leases.note_silence(ip, now, until));
        asked
    }
}

/// The networks of a wire whose addresses are ours to give; behind a relay nobody hears our ARP.
fn our_networks<'a>(table: &'a BootTable, arrival: &Arrival<'a>) -> impl Iterator<Item = (&'a NetworkName, &'a Network)> {
    let (interface, addresses) = (arrival.interface, arrival.addresses);
    table.networks.iter().filter(move |(_, network)| {
        let is_near = addresses.iter().any(|ip| network.subnet.contains(ip));
        network.mode == NetworkMode::Server && network.interface == interface && is_near
    })
}

fn arrival<'a>(socket: &'a Socket, addresses: &'a [Ipv4Addr]) -> Arrival<'a> {
    let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    Arrival { interface: &socket.interface, addresses, destination: Ipv4Addr::BROADCAST, source, port: socket.port }
}

fn allocation<'a>(
    table: &'a FixedTable,
    network: &'a Network,
    arrival: &'a Arrival<'a>,
    leases: &'a Leases,
    mac: MacAddr,
    now: Timestamp,
) -> Allocation<'a> {
    Allocation { table, network, arrival, leases, client: Client::Plain, mac, now }
}

/// How we take part on an interface: as the server where any of its networks is ours to give.
fn find_mode(table: &BootTable, interface: &str) -> Option<NetworkMode> {
    let modes = table.networks.values().filter(|network| network.interface == interface).map(|network| network.mode);
    modes.fold(None, |found, mode| match (found, mode) {
        (Some(NetworkMode::Server), _) | (_, NetworkMode::Server) => Some(NetworkMode::Server),
        (found, mode) => found.or(Some(mode)),
    })
}

/// Where a request was heard.
fn source(request: &Request, socket: &Socket) -> transcript::Source {
    request.giaddr.map_or_else(|| on(socket), transcript::Source::Relay)
}

fn on(socket: &Socket) -> transcript::Source {
    transcript::Source::Interface(socket.interface.clone())
}
