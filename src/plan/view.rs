//! The sides of a machine's seats as they are seen: which disks and which target go together, and in what state they are.
//!
//! A disk that a side has for itself says so by a mark; any other disk of a machine is the same at every boot. **Invariant:** a side is
//! clean only if the record of what was offered is whole, belongs to the store and names none of its disks, nothing was written to
//! them, and its portal group is off; whatever is not known is used.

use super::context::{Context, Place};
use super::exports::Offering;
use super::{PortalGroup, Proof, Sign};
use crate::desired::{DiskSeat, Reset, SeatDisk, SeatId};
use crate::names::{DiskId, ImageName, Lun, MachineName, Side};
use crate::observed::{Boot, Disk, Offer, Seen, Stamp, occupancy::SystemSeen};
use std::{collections::BTreeMap, time::Duration};

/// Disks that a side has for itself.
type Own<'a> = Vec<(&'a DiskId, &'a Disk)>;

/// A machine's disks and targets.
pub(super) struct MachineSeen<'a> {
    /// The sides of its seats, by the image of today and the letter; a former name comes beside it.
    pub sides: Vec<SideSeen<'a>>,
    /// Disks that it has at every boot and that are no system disks.
    pub loose: Vec<(&'a DiskId, &'a Disk)>,
    /// Targets of its name that show none of its disks.
    pub bare: Vec<&'a str>,
}

/// A side as it is seen.
pub(super) struct SideSeen<'a> {
    /// Whose it is, by the names of today.
    pub seat: SeatId,
    /// Whose it is by its name on the host.
    pub named: SeatId,
    /// Which side.
    pub letter: Side,
    /// The disks it has for itself, the system disk first; or the system disk that every boot has.
    pub own: Own<'a>,
    /// Whether each boot gets another.
    pub kind: Kind,
    /// Its target.
    pub target: Option<&'a str>,
    /// Its state.
    pub state: State,
    /// The number of its last offer: a later side has a higher one.
    pub sequence: Option<u64>,
    /// Which of several it is, the latest being the greatest.
    pub place: Place,
}

/// Whether a side is for one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is.
    PerBoot,
    /// Every boot has the same.
    Lasting,
}

/// The state of a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is clean.
    Fresh,
    /// It was offered to this boot, and nothing shows that an operating system came.
    Named(Boot),
    /// An operating system used it, or may have.
    Used,
}

impl<'a> MachineSeen<'a> {
    pub fn new(context: &Context<'a>, machine: &MachineName) -> Self {
        let storage = context.storage;
        let mut groups: BTreeMap<(SeatId, Side), (Kind, Own<'a>)> = BTreeMap::new();
        let mut loose = Vec::new();
        for (id, disk) in context.by_machine.get(machine).into_iter().flatten() {
            let DiskId::Seat { machine: named, image, side } = id else { continue };
            let (key, kind) = match &disk.marks.side {
                Some((system, letter)) => ((SeatId { machine: named.clone(), image: system.clone() }, *letter), Kind::PerBoot),
                None if is_system(context, machine, id, disk) => {
                    ((SeatId { machine: named.clone(), image: image.clone() }, *side), Kind::Lasting)
                }
                None => {
                    loose.push((*id, *disk));
                    continue;
                }
            };
            groups.entry(key).or_insert((kind, Vec::new())).1.push((*id, *disk));
        }
        let names: Vec<&str> = std::iter::once(machine)
            .chain(storage.moved_machines.get(machine).into_iter().flatten())
            .flat_map(|name| context.exports.by_machine.get(name).into_iter().flatten().copied())
            .collect();
        let mut bare = names;
        let mut sides = Vec::new();
        for ((named, letter), (kind, mut own)) in groups {
            // The system disk first: it is the one of the image's own name.
            own.sort_by_key(|(id, disk)| (disk.marks.lun, image_of(id) != Some(&named.image)));
            let at = bare.iter().position(|name| shows(&context.exports.targets[name], &named, letter, &own));
            let target = at.map(|at| bare.swap_remove(at));
            let seat = SeatId { machine: machine.clone(), image: storage.image_now(&named.image).clone() };
            let offers = own.iter().filter_map(|(_, disk)| context.offer(disk));
            let sequence = offers.clone().map(|offer| offer.sequence).max();
            let last = offers.max_by_key(|offer| offer.sequence);
            let state = decide_state(context, &own, target, last);
            let place = own.iter().map(|(_, disk)| context.place(disk)).max().unwrap_or_default();
            sides.push(SideSeen { seat, named, letter, own, kind, target, state, sequence, place });
        }
        Self { sides, loose, bare }
    }

    /// A seat with the versions that its newest side was made of, where what it should be made of is not ready and they still are.
    pub fn meantime(&self, context: &Context<'a>, id: &SeatId, seat: &DiskSeat) -> Option<DiskSeat> {
        if !awaits_version(context, seat) {
            return None;
        }
        let newest = self.of(id).filter(|side| side.kind == Kind::PerBoot).max_by_key(|side| (side.sequence, side.place))?;
        let mut instead = seat.clone();
        for disk in instead.disks.iter_mut().filter(|disk| is_awaited(context, seat, disk)) {
            let is_its = |id: &DiskId| image_of(id).is_some_and(|image| context.storage.image_now(image) == &disk.image);
            let (_, own) = newest.own.iter().find(|(id, _)| is_its(id))?;
            let version = own.marks.version.clone()?;
            let ready = context.ready(&DiskId::version(&disk.image, &version))?;
            if own.marks.base.as_ref() != Some(&ready.handle) {
                return None;
            }
            disk.version = version;
        }
        Some(instead)
    }

    /// The sides of one seat.
    pub fn of<'s>(&'s self, seat: &SeatId) -> impl Iterator<Item = &'s SideSeen<'a>> + use<'s, 'a> {
        let seat = seat.clone();
        self.sides.iter().filter(move |side| side.seat == seat)
    }

    /// Whether a side is to take the place of another that every boot of its seat has so far.
    pub fn is_replacement(&self, side: &SideSeen<'a>) -> bool {
        let is_older = |other: &SideSeen<'a>| other.kind == Kind::Lasting && other.state != State::Fresh;
        self.of(&side.seat).any(|other| !std::ptr::eq(other, side) && is_older(other))
    }

    /// The side that the kept disks were offered with: they are put on record right after its own.
    pub fn with_kept(&self, context: &Context<'a>) -> Option<&SideSeen<'a>> {
        let kept = self.loose.iter().filter_map(|(_, disk)| Some(context.offer(disk)?.sequence)).max();
        self.offered_before(kept)
    }

    /// The side that a kept disk was offered with last.
    pub fn offered_with(&self, context: &Context<'a>, disk: &Disk) -> Option<&SideSeen<'a>> {
        self.offered_before(Some(context.offer(disk)?.sequence))
    }

    /// The side that was offered last before the offer of this number, or at all.
    fn offered_before(&self, offer: Option<u64>) -> Option<&SideSeen<'a>> {
        let is_before = |side: &&SideSeen<'a>| side.sequence.is_some_and(|sequence| offer.is_none_or(|offer| sequence < offer));
        self.sides.iter().filter(is_before).max_by_key(|side| side.sequence)
    }

    /// The disk of an image that every boot of a machine has: the one offered last, and where none was, the first.
    pub fn lasting(&self, context: &Context<'a>, image: &ImageName) -> Option<(&'a DiskId, &'a Disk)> {
        let disks =
            self.loose.iter().copied().filter(|(id, _)| image_of(id).is_some_and(|of| context.storage.image_now(of) == image));
        disks.max_by_key(|(id, disk)| (context.place(disk), std::cmp::Reverse(*id)))
    }

    /// What proves that nobody is at work on a side any more; `None` proves nothing, and the site's `quiet` is asked only where
    /// somebody needs the disk.
    pub fn proof(&self, context: &Context<'a>, side: &SideSeen<'a>, need: Need) -> Option<Proof> {
        if self.sign(context, side) != Sign::MayBeOn {
            return None;
        }
        if self.is_forced(context, side) {
            return Some(Proof::Forced);
        }
        let (occupancy, target) = (context.occupancy?, side.target?);
        // Whoever plans beside the agent has an older look of it than his own: where they differ, somebody was there since.
        let now = context.exports.targets.get(target)?;
        let is_as_watched = occupancy.watches.get(target).is_some_and(|watch| now.commands() == Seen::Present(watch.commands));
        if !is_as_watched {
            return None;
        }
        let is_later = |other: &&SideSeen<'a>| match (other.sequence, side.sequence) {
            (Some(other), Some(this)) => other > this,
            // What was offered under this record is later than what no record names.
            (Some(_), None) => true,
            (None, _) => false,
        };
        let later = self.sides.iter().filter(is_later).filter_map(|other| other.target);
        if later.into_iter().any(|later| occupancy.moved(target, later)) {
            return Some(Proof::Moved);
        }
        let policy = &context.desired.policy;
        if need != Need::Nobody && occupancy.is_quiet(target, policy.quiet.duration(), policy.outage_quiet.duration()) {
            return Some(Proof::Quiet);
        }
        let waiting =
            context.observation.waiting.get(&side.seat.machine).filter(|_| matches!(need, Need::Boot | Need::Rename))?;
        occupancy.is_still_since(target, waiting.intent()?).then_some(Proof::BootIntent)
    }

    /// Whether a person said that the machine is off, and nothing on the side says otherwise since.
    fn is_forced(&self, context: &Context<'a>, side: &SideSeen<'a>) -> bool {
        // Where nobody watches, it is believed only to whoever says it now.
        const BELIEVED: Duration = Duration::from_secs(60);
        let journal = context.observation.commands.present();
        let Some(said) = journal.and_then(|journal| journal.forced.get(&side.seat.machine)).copied() else { return false };
        let watch = context.occupancy.and_then(|occupancy| occupancy.watches.get(side.target?));
        match watch {
            Some(watch) => watch.sign <= said,
            None => context.observation.now.since(said) < BELIEVED,
        }
    }

    /// What is known of whoever may be at work on a side.
    pub fn sign(&self, context: &Context<'a>, side: &SideSeen<'a>) -> Sign {
        let Some(target) = side.target.and_then(|target| context.exports.targets.get(target)) else { return Sign::MayBeOn };
        match target.session() {
            Seen::Present(session) => Sign::Session { address: session.address },
            Seen::Unreadable(what) => Sign::Unreadable { what },
            Seen::Absent if target.seen.sessions > 0 => Sign::Session { address: String::new() },
            Seen::Absent => Sign::MayBeOn,
        }
    }
}

/// Whether somebody needs a side's disk to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A commit that removes it.
    Commit,
    /// A commit that renames it or shows it anew, which its next boot may do.
    Rename,
    /// A boot that waits.
    Boot,
    /// Nobody; it is only due.
    Nobody,
}

/// The image a seat's disk is of.
pub(super) fn image_of(id: &DiskId) -> Option<&ImageName> {
    match id {
        DiskId::Seat { image, .. } => Some(image),
        _ => None,
    }
}

/// Whether a disk that every boot has is a system disk: by its mark, by what shows it, and else by the site.
fn is_system(context: &Context<'_>, machine: &MachineName, id: &DiskId, disk: &Disk) -> bool {
    if let Some(lun) = disk.marks.lun {
        return lun == Lun(0);
    }
    let Some(image) = image_of(id) else { return false };
    let shown = context.shown(disk).into_iter().flat_map(|shown| &shown.targets);
    let mut targets = shown.filter_map(|target| context.exports.targets.get(target)).peekable();
    if targets.peek().is_some() {
        return targets.any(|target| target.luns.get(&Lun(0)) == Some(&Some(id)));
    }
    let image = context.storage.image_now(image);
    context.wanted(machine).any(|(seat, _)| seat.image == *image) || !context.data_images.contains(image)
}

/// Whether a target is that of a side: by its name, and for one without a side by the disk that it shows.
fn shows(target: &Offering<'_>, named: &SeatId, letter: Side, own: &[(&DiskId, &Disk)]) -> bool {
    let id = &target.id;
    let is_own = |disk: &Option<&DiskId>| disk.is_some_and(|disk| own.iter().any(|(own, _)| *own == disk));
    if (&id.machine, &id.image) != (&named.machine, &named.image) {
        return false;
    }
    match &id.side {
        Some((side, tail)) => *side == letter && (target.luns.values().any(is_own) || is_tail_of(tail, own)),
        None => target.luns.values().any(is_own) || target.luns.is_empty() && letter == Side::A,
    }
}

fn is_tail_of(tail: &str, own: &[(&DiskId, &Disk)]) -> bool {
    crate::names::target_tail(own.iter().map(|(_, disk)| &disk.handle)) == *tail
}

fn decide_state(context: &Context<'_>, own: &[(&DiskId, &Disk)], target: Option<&str>, last: Option<&Offer>) -> State {
    let offering = target.and_then(|target| context.exports.targets.get(target));
    let is_off = offering.is_none_or(|offering| offering.portal_group == PortalGroup::Off && offering.seen.sessions == 0);
    if is_off && own.iter().all(|(_, disk)| context.is_clean(disk)) {
        return State::Fresh;
    }
    let Some(Offer { boot: boot @ Boot::Nonce(_), server_boot, .. }) = last else { return State::Used };
    let is_of_this_boot = context.observation.boot_id.starts_with(server_boot.as_str()) && !server_boot.is_empty();
    let no_system = offering.is_some_and(|offering| {
        let watch = context.occupancy.and_then(|occupancy| occupancy.watches.get(offering.name));
        let session = offering.session();
        let is_systems = match &session {
            Seen::Absent => offering.seen.sessions > 0,
            Seen::Present(session) => !crate::observed::occupancy::is_firmware(session),
            Seen::Unreadable(_) => true,
        };
        watch.is_some_and(|watch| watch.system == SystemSeen::Never) && !is_systems
    });
    let is_unwritten = own.iter().all(|(_, disk)| disk.device.is_some() && !context.is_written(disk));
    if context.offered.is_some() && is_of_this_boot && no_system && is_unwritten { State::Named(*boot) } else { State::Used }
}

impl<'a> SideSeen<'a> {
    /// Whether it would count as clean by the record alone, which does not name it.
    pub fn is_unrecorded(&self, context: &Context<'a>) -> bool {
        let Some(offered) = context.offered else { return false };
        self.own.iter().any(|(_, disk)| {
            let is_known = disk.marks.epoch.is_some_and(|made| (offered.begun..=offered.epoch).contains(&made));
            is_known && !offered.disks.contains_key(&disk.handle)
        })
    }

    /// Whether its own disks are what a boot of this seat should get of them.
    pub fn is_current(&self, context: &Context<'a>, seat: &DiskSeat) -> bool {
        let mut wanted = seat.disks.iter().filter(|disk| is_own(seat, disk, self.kind));
        let has = |disk: &SeatDisk| self.own.iter().any(|(id, own)| is_clone(context, id, own, disk));
        self.named == self.seat && wanted.clone().count() == self.own.len() && wanted.all(has)
    }

    /// The disk with its own UUID that its target's name is made of.
    pub fn has(&self, id: &DiskId) -> bool {
        self.own.iter().any(|(own, _)| *own == id)
    }

    /// Whether no command reached it since its target was put up.
    pub fn is_untouched(&self, context: &Context<'a>) -> bool {
        match self.target.and_then(|target| context.exports.targets.get(target)) {
            None => self.state == State::Fresh,
            Some(target) => {
                target.commands() == Seen::Present(0) && target.seen.sessions == 0 && target.session() == Seen::Absent
            }
        }
    }

    /// The version of its system disk.
    pub fn version(&self) -> Option<&'a crate::names::VersionName> {
        self.own.first().and_then(|(_, disk)| disk.marks.version.as_ref())
    }

    /// Whether anything on it goes only by written consent.
    pub fn is_kept(&self) -> bool {
        self.own.iter().any(|(_, disk)| disk.marks.reset.is_kept())
    }
}

/// Whether a disk that sides of boots have as their own waits for its version.
fn is_awaited(context: &Context<'_>, seat: &DiskSeat, disk: &SeatDisk) -> bool {
    is_own(seat, disk, Kind::PerBoot) && context.ready(&DiskId::version(&disk.image, &disk.version)).is_none()
}

/// Whether a further side of a seat waits for a version.
pub(super) fn awaits_version(context: &Context<'_>, seat: &DiskSeat) -> bool {
    seat.disks.iter().any(|disk| is_awaited(context, seat, disk))
}

/// Whether a disk of a seat is a side's own.
pub(super) fn is_own(seat: &DiskSeat, disk: &SeatDisk, kind: Kind) -> bool {
    match kind {
        Kind::PerBoot => disk.reset == Reset::EveryBoot,
        // The system disk gives the side its letter.
        Kind::Lasting => seat.disks.first().is_some_and(|first| first.image == disk.image),
    }
}

/// Whether a disk is a clone of the version that it should be of.
pub(super) fn is_clone(context: &Context<'_>, id: &DiskId, disk: &Disk, wanted: &SeatDisk) -> bool {
    let base = context.stock.disks.get(&DiskId::version(&wanted.image, &wanted.version));
    let is_same_base = match (&disk.marks.base, base) {
        (Some(base), Some(version)) => *base == version.handle,
        // Made before clones said what they are clones of; or the version is gone.
        (None, _) | (Some(_), None) => true,
    };
    image_of(id).is_some_and(|image| context.storage.image_now(image) == &wanted.image)
        && disk.marks.version.as_ref() == Some(&wanted.version)
        && is_same_base
}

/// How a policy is spelt in a mark.
pub(super) fn stamp_text(reset: Reset) -> &'static str {
    match reset {
        Reset::EveryBoot => "every-boot",
        Reset::OnUpdate => "on-update",
        Reset::Never => "never",
    }
}

/// The stamp that a policy is.
pub(super) fn stamp(reset: Reset) -> Stamp {
    match reset {
        Reset::EveryBoot => Stamp::EveryBoot,
        Reset::OnUpdate => Stamp::OnUpdate,
        Reset::Never => Stamp::Never,
    }
}
