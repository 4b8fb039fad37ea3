//! Which address a client gets.
//!
//! **Invariant:** never one that is reserved for another machine, held by another client, or the server's or the subnet's own; and
//! nobody who is not of the site keeps a machine of the site from booting, however many addresses are asked for in however many
//! names: part of a range is not given to strangers, and what they do not use is taken from them. Nor does anybody who writes in the
//! names of machines that have a reservation: such a machine needs no address of a range. Nor does anybody who says by ARP that an address
//! is his: where no other is left, a machine gets it all the same, and declines it if it is really used. What a request says of itself
//! takes no address from a card that answers.
//! No ping before an offer: it would cost a booting room seconds, and iPXE waits one (C9); what ARP shows beside the offers and
//! what clients decline is in the leases (C19).

use super::{
    classify::Client,
    leases::{Holding, Leases, ends_in_0_or_255},
    model::Arrival,
    server::{OFFER_KEPT, after},
};
use crate::{
    boot::table::{FixedTable, Network},
    desired::NetworkMode,
    names::MacAddr,
};
use jiff::Timestamp;
use std::net::Ipv4Addr;

/// Everything an address depends on, for one client in one subnet.
#[derive(Clone, Copy)]
pub struct Allocation<'a> {
    /// The boot table.
    pub table: &'a FixedTable,
    /// The subnet.
    pub network: &'a Network,
    /// How the request came in.
    pub arrival: &'a Arrival<'a>,
    /// The leases.
    pub leases: &'a Leases,
    /// What is asking.
    pub client: Client,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// The time.
    pub now: Timestamp,
}

impl Allocation<'_> {
    /// The address reserved for the client in this subnet.
    pub fn reservation(&self) -> Option<Ipv4Addr> {
        self.table.machine(self.mac).and_then(|(_, machine)| machine.ip).filter(|ip| self.network.subnet.contains(ip))
    }

    /// Whether the client is a machine of the site.
    pub fn is_of_site(&self) -> bool {
        self.table.machine(self.mac).is_some()
    }

    /// The address for a new offer: its reservation, else the one it has or had, else the one it asks for, else a free one, else, for
    /// a machine of the site, one that a stranger does not use.
    pub fn choose(&self, requested: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let taken = |ip: &Ipv4Addr| self.is_taken(*ip);
        // A reservation that another client still holds is not given twice; the machine boots from the range meanwhile.
        let reserved = self.reservation().filter(|ip| !taken(ip));
        let held = || self.leases.of(self.mac).into_iter().map(|(ip, _)| ip).find(|ip| self.is_open(*ip) && !taken(ip));
        let asked = || requested.filter(|ip| self.is_open(*ip) && !taken(ip));
        reserved
            .or_else(held)
            .or_else(asked)
            .or_else(|| self.free())
            .or_else(|| self.unused_by_strangers())
            .or_else(|| self.withheld_by_strangers())
    }

    /// Whether the client may have or keep this address.
    pub fn may_hold(&self, ip: Ipv4Addr) -> bool {
        let allowed = self.reservation() == Some(ip) || self.is_open(ip);
        allowed && (!self.is_taken(ip) || self.is_last_resort(ip))
    }

    /// The address that is reserved for the client and leased by another card of its machine, which may still run with it: whether it does
    /// shows by ARP alone.
    pub fn held_by_other_card(&self) -> Option<Ipv4Addr> {
        let ip = self.reservation()?;
        let holding = self.leases.live(ip, self.now)?;
        let is_other = holding.mac() != Some(self.mac) && self.is_same_machine(holding.mac());
        (is_other && matches!(holding, Holding::Bound { .. })).then_some(ip)
    }

    /// Whether the client says from an address itself that it has it, and another card of its machine leases it: a lease is not worth a
    /// seat, whichever of its cards the server gave it to last.
    pub fn keeps(&self, ip: Ipv4Addr) -> bool {
        *self.arrival.source.ip() == ip && self.held_by_other_card() == Some(ip)
    }

    /// Whether the client was told that it may have this address: an offer, or a lease that lasts. A machine of the site needs no
    /// offer of its own or, where it has none, of any address, for a restart of this service forgets them; others do, or they would take a
    /// range without a single question.
    pub fn is_promised(&self, ip: Ipv4Addr) -> bool {
        self.needs(ip) || self.leases.holder(ip, self.now) == Some(self.mac)
    }

    /// Whether the client had this address, for all that is known; of a machine of the site that needs it it is taken for granted, for
    /// its lease may have been lost.
    pub fn has_had(&self, ip: Ipv4Addr) -> bool {
        self.needs(ip) || self.leases.holding(ip).and_then(Holding::user) == Some(self.mac)
    }

    /// Whether the client is a machine of the site that has this address or none.
    fn needs(&self, ip: Ipv4Addr) -> bool {
        self.table.machine(self.mac).is_some_and(|(_, machine)| machine.ip.is_none_or(|own| own == ip))
    }

    /// Whether another address than this is reserved for the client here, and is free.
    pub fn has_a_better(&self, ip: Ipv4Addr) -> bool {
        self.reservation().is_some_and(|own| own != ip && !self.is_taken(own)) && self.held_by_other_card().is_none()
    }

    /// Whether an address of a range that this client holds may be taken from it when it is not used: it is a stranger, or a machine that
    /// has one of its own.
    pub fn can_spare(&self, mac: MacAddr) -> bool {
        self.table.machine(mac).is_none_or(|(_, machine)| machine.ip.is_some())
    }

    /// Whether the client has another address of the range leased now: one card has one, whatever it asks for.
    pub fn holds_another(&self, ip: Ipv4Addr) -> bool {
        let is_leased = |holding: Holding| matches!(holding, Holding::Bound { until, .. } if until > self.now);
        let mut held = self.leases.of(self.mac).into_iter();
        self.reservation() != Some(ip) && held.any(|(known, holding)| known != ip && is_leased(holding) && self.is_dynamic(known))
    }

    /// Whether the client has an entry here: a reservation or a lease, ended or not.
    pub fn is_known(&self) -> bool {
        // What a stranger uses unasked was given by another server, for all that is known.
        let is_given = |holding: Holding| holding.mac().is_some() || self.is_of_site();
        let mut held = self.leases.of(self.mac).into_iter();
        self.reservation().is_some() || held.any(|(ip, holding)| self.network.subnet.contains(&ip) && is_given(holding))
    }

    /// Whether the site knows where the client belongs, in this subnet or another.
    pub fn is_known_anywhere(&self) -> bool {
        let reserved = self.table.machine(self.mac).is_some_and(|(_, machine)| machine.ip.is_some());
        reserved || self.leases.of(self.mac).into_iter().any(|(_, holding)| holding.mac().is_some())
    }

    /// Whether the address is known to be another client's: reserved for it, or held by it now.
    pub fn is_anothers(&self, ip: Ipv4Addr) -> bool {
        let held = self.leases.holder(ip, self.now).is_some_and(|holder| holder != self.mac);
        self.is_reserved_for_another(ip) || held
    }

    /// Whether a network of ours that is not this one gives this address.
    pub fn is_of_another_network(&self, ip: Ipv4Addr) -> bool {
        let gives = |network: &Network| network.mode == NetworkMode::Server && network.subnet.contains(&ip);
        !self.network.subnet.contains(&ip) && self.table.networks.values().any(gives)
    }

    fn is_taken(&self, ip: Ipv4Addr) -> bool {
        let Some(holding) = self.leases.live(ip, self.now) else { return false };
        match holding {
            // Whoever else uses it is in the wrong, and a machine that does not boot tells nobody.
            Holding::Quarantined { by, .. } => self.reservation() != Some(ip) && by != Some(self.mac),
            Holding::Declined { .. } => self.reservation() != Some(ip),
            _ if holding.mac() == Some(self.mac) => false,
            // The address goes along when a machine boots through another of its cards. That it boots is what anybody can write: the
            // first card may run on, so it must be silent. Of one that was offered the address only, nothing runs; behind a relay nobody
            // can be asked, and a card that runs there keeps the address by its renewal.
            _ if self.client != Client::Plain && self.reservation() == Some(ip) && self.is_same_machine(holding.mac()) => {
                let is_far = !self.arrival.is_wire_of(self.network);
                matches!(holding, Holding::Bound { .. }) && !is_far && !self.leases.is_silent(ip, self.now)
            }
            _ => true,
        }
    }

    fn is_same_machine(&self, other: Option<MacAddr>) -> bool {
        let machine = self.table.machine(self.mac).map(|(_, machine)| machine);
        other.is_some_and(|other| machine.is_some_and(|machine| machine.macs.contains(&other)))
    }

    /// Whether the client has this address leased now, whatever the table says since.
    pub fn has_leased(&self, ip: Ipv4Addr) -> bool {
        let reserved_for_another = || self.is_reserved_for_another(ip);
        self.leases.holder(ip, self.now) == Some(self.mac) && !reserved_for_another()
    }

    /// Whether this address was declined in the client's name, and it is nobody else's: whoever renews it has not declined it.
    pub fn has_declined(&self, ip: Ipv4Addr) -> bool {
        let declined = matches!(self.leases.live(ip, self.now), Some(Holding::Declined { mac, .. }) if mac == self.mac);
        declined && !self.is_reserved_for_another(ip)
    }

    /// Whether the client may keep one more address from the others by declining it: a few of each card, and part of a range of all
    /// cards together, for a card and a name for it cost nothing.
    pub fn may_decline(&self) -> bool {
        let Some((first, last)) = self.network.range else { return false };
        let size = u32::from(last).saturating_sub(u32::from(first)).saturating_add(1);
        let declined: Vec<_> = self.leases.declined((first, last), self.now).collect();
        let own = declined.iter().filter(|(_, mac)| *mac == self.mac).count();
        own < DECLINED_BY_ONE && declined.len() < ((size / DECLINED_PART) as usize).max(1)
    }

    /// Whether the range holds this address for whoever comes.
    pub fn is_dynamic(&self, ip: Ipv4Addr) -> bool {
        let Some((first, last)) = self.network.range else { return false };
        let ours = [self.table.tftp_address, self.table.http_address];
        (first..=last).contains(&ip)
            && self.network.subnet.contains(&ip)
            // Windows of old and some ROMs refuse addresses that end so, whatever the mask is.
            && !ends_in_0_or_255(ip)
            && ip != self.network.subnet.network()
            && ip != self.network.subnet.broadcast()
            && !ours.contains(&ip)
            && !self.arrival.addresses.contains(&ip)
            && self.network.router != Some(ip)
            && !self.network.dns.contains(&ip)
            && !self.table.is_reserved(ip)
    }

    /// Whether the range holds this address for this client: a stranger gets no new one of those that are kept for the site.
    fn is_open(&self, ip: Ipv4Addr) -> bool {
        let may_be_given = || self.is_of_site() || !self.is_kept(ip) || self.leases.holder(ip, self.now) == Some(self.mac);
        self.is_dynamic(ip) && may_be_given()
    }

    /// Whether an address of the range is kept for machines of the site: the last of it, one for each of their cards that no address
    /// is reserved for.
    fn is_kept(&self, ip: Ipv4Addr) -> bool {
        self.network.range.is_some_and(|(_, last)| u32::from(last).saturating_sub(u32::from(ip)) < self.kept())
    }

    /// How many addresses of the range are kept for machines of the site.
    fn kept(&self) -> u32 {
        let size =
            self.network.range.map_or(0, |(first, last)| u32::from(last).saturating_sub(u32::from(first)).saturating_add(1));
        self.table.unreserved_cards().min(size / KEPT_PART)
    }

    fn is_reserved_for_another(&self, ip: Ipv4Addr) -> bool {
        self.table.is_reserved(ip) && self.reservation() != Some(ip)
    }

    /// A free address of the range: first one that nobody ever had, then the one whose lease ended first. Machines of the site begin
    /// with those that are kept for them, so that they and the strangers do not meet before they must.
    fn free(&self) -> Option<Ipv4Addr> {
        let (first, last) = self.network.range.map(|(first, last)| (u32::from(first), u32::from(last)))?;
        let of_all = last.saturating_sub(self.kept());
        let kept = || self.walk(of_all.checked_add(1)?, last).filter(|_| self.is_of_site());
        let never_had = kept().or_else(|| self.walk(first, of_all));
        never_had.or_else(|| self.leases.ended(self.now).find(|ip| self.is_open(*ip)))
    }

    /// An address of a stretch of the range that nobody ever had.
    ///
    /// The walk begins where the Ethernet address falls, so a machine meets the same address again even after the leases
    /// are lost. It passes over each 256 addresses of which all are known, so a full range of 65,536 costs some hundred looks.
    fn walk(&self, first: u32, last: u32) -> Option<Ipv4Addr> {
        let size = u64::from(last.checked_sub(first)?) + 1;
        let start = fnv(self.mac.octets()) % size;
        let mut walked = 0;
        while walked < size {
            let ip = Ipv4Addr::from(first + ((start + walked) % size) as u32);
            if self.leases.known_around(ip) >= DYNAMIC_IN_BLOCK {
                let rest = 256 - u64::from(ip.octets()[3]);
                // The range may end, and begin anew, before the 256 do.
                walked += rest.min(u64::from(last - u32::from(ip)) + 1);
                continue;
            }
            if self.leases.holding(ip).is_none() && self.is_dynamic(ip) {
                return Some(ip);
            }
            walked += 1;
        }
        None
    }

    /// For a machine of the site, an address of those kept for the site that is withheld because a stranger says by ARP that it is his.
    fn withheld_by_strangers(&self) -> Option<Ipv4Addr> {
        let (_, last) = self.network.range.filter(|_| self.is_of_site())?;
        let of_all = Ipv4Addr::from(u32::from(last).saturating_sub(self.kept()));
        let mut withheld = self.leases.behind(of_all, last).map(|(ip, _)| ip);
        withheld.find(|ip| self.is_dynamic(*ip) && self.is_withheld_by_stranger(*ip))
    }

    /// Whether nothing is left to a machine of the site but this address, which a stranger says is his.
    fn is_last_resort(&self, ip: Ipv4Addr) -> bool {
        let is_meant = self.is_of_site() && self.is_kept(ip) && self.is_withheld_by_stranger(ip);
        is_meant && self.free().is_none() && self.unused_by_strangers().is_none()
    }

    fn is_withheld_by_stranger(&self, ip: Ipv4Addr) -> bool {
        let is_strangers = |by: MacAddr| self.table.machine(by).is_none();
        matches!(self.leases.live(ip, self.now), Some(Holding::Quarantined { by: Some(by), .. }) if is_strangers(by))
    }

    /// For a machine of the site, an address that a stranger was offered and has not taken, or leases and does not answer ARP for; or a
    /// machine that has one of its own.
    fn unused_by_strangers(&self) -> Option<Ipv4Addr> {
        if !self.is_of_site() {
            return None;
        }
        let is_strangers = |holding: Holding| holding.mac().is_some_and(|mac| self.can_spare(mac));
        let soon = self.leases.ending_within(self.now, after(self.now, OFFER_KEPT));
        let mut offered = soon.filter(|(_, holding)| matches!(holding, Holding::Offered { .. }) && is_strangers(*holding));
        let is_leased = |ip: Ipv4Addr| self.leases.live(ip, self.now).is_some_and(is_strangers);
        let mut silent = self.leases.silent(self.now).filter(|ip| is_leased(*ip));
        let offered = offered.find(|(ip, _)| self.is_dynamic(*ip)).map(|(ip, _)| ip);
        offered.or_else(|| silent.find(|ip| self.is_dynamic(*ip)))
    }
}

/// Addresses that one card may keep from others by declining them: a wire with four duplicates in a row is broken, and a client that
/// declines whatever it is given is more often.
const DECLINED_BY_ONE: usize = 4;
/// The part of a range that all cards together may keep from others so.
const DECLINED_PART: u32 = 4;

/// The part of a range that is kept for machines of the site at the most: who plugs in where all machines are taken in later gets
/// an address too.
const KEPT_PART: u32 = 2;

/// Of 256 addresses in a row, those that end in neither 0 nor 255.
const DYNAMIC_IN_BLOCK: u16 = 254;

/// FNV-1a: spreads neighbouring Ethernet addresses over the range.
fn fnv(octets: [u8; 6]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3))
}
