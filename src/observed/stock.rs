//! Disks as their store shows them: what each is for, and what its marks say.
//!
//! **Invariant:** a disk is ours only if its marks say so *and* its name follows from them. A copied mark, another name, two values
//! of one mark make a [`Stray`], which nothing is concluded from and nobody touches. Another backing fills the same form.

use super::{Lv, LvKind, Offered, Tags, Vg};
use crate::names::{Bytes, DiskId, Handle, ImageName, Lun, MachineName, Mark, Side, SiteName, VersionName};
use std::collections::BTreeMap;

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock {
    /// The store's own UUID.
    pub store: Handle,
    /// Our disks.
    pub disks: BTreeMap<DiskId, Disk>,
    /// What carries our mark and is no disk of ours, by its name in the store.
    pub strays: BTreeMap<String, Stray>,
    /// Names of disks that something else has.
    pub taken: BTreeMap<DiskId, String>,
}

/// A disk of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its UUID.
    pub handle: Handle,
    /// Its size.
    pub size: Bytes,
    /// What its marks say.
    pub marks: Marks,
    /// Whether its marks still say whose it was before the site renamed that: a rename was cut off after its first half.
    pub naming: Naming,
    /// Whether the host has a device for it.
    pub power: Power,
    /// The device, while it has one.
    pub device: Option<(u32, u32)>,
    /// Whether something has that device open.
    pub held: HeldOpen,
    /// Whether it can be written.
    pub access: Access,
}

/// Whether the marks of a disk are those of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// They are.
    Settled,
    /// They are those of a former name.
    Behind,
}

/// Whether the host has a device for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It has.
    Active,
    /// It has not.
    Inactive,
    /// It has, and will not after its next start: LVM passes it over when it activates all.
    ActiveOnce,
    /// It has not, and LVM passes it over.
    PassedOver,
}

/// Whether something has a disk's device open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldOpen {
    /// Something has.
    Open,
    /// Nothing has.
    Closed,
}

/// Whether a disk can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It can.
    ReadWrite,
    /// It can only be read.
    ReadOnly,
}

/// What the marks of a disk say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// Of what version it is, or it is a clone of.
    pub version: Option<VersionName>,
    /// The policy it was made under, or that was written on it since.
    pub reset: Stamp,
    /// The count of the record of what was offered when it was made.
    pub epoch: Option<u64>,
    /// The number of the next record of what was offered when it was made.
    pub after: Option<u64>,
    /// The side that has it for itself.
    pub side: Option<(ImageName, Side)>,
    /// The number of its LUN on its seat's target.
    pub lun: Option<Lun>,
    /// The SHA-256 of what its version was filled from.
    pub sha256: Option<String>,
    /// What its version was filled from, as the mark spells it.
    pub source: Option<String>,
    /// The UUID of the version it is a clone of.
    pub base: Option<Handle>,
    /// Whether it is filled.
    pub filling: Filling,
}

/// How a disk is reset, by its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stamp {
    /// At every boot.
    EveryBoot,
    /// When the image's current version changes.
    OnUpdate,
    /// Never.
    Never,
    /// It does not say, so it is kept.
    #[default]
    Unmarked,
}

/// Whether a version is filled, by its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filling {
    /// It is being filled, or was when that was cut off.
    Unfinished,
    /// It is whole.
    Ready,
    /// It does not say.
    #[default]
    Unmarked,
}

impl Stamp {
    /// Whether the disk goes only by written consent.
    pub fn is_kept(self) -> bool {
        matches!(self, Self::Never | Self::Unmarked)
    }
}

/// Something that carries our mark and is no disk of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stray {
    /// One of its marks has two values.
    Conflict {
        /// Which.
        mark: String,
        /// Two of its values.
        values: [String; 2],
    },
    /// Its name is not the one that follows from its marks.
    Misnamed {
        /// The name its marks give; none where they give no name at all.
        should: Option<DiskId>,
    },
}

impl Stock {
    /// Thin volumes of a group as disks. `explains` says whether a disk whose marks say the first may well be called the second,
    /// because the site renamed it.
    pub fn of_thin(vg: &Vg, site: &SiteName, explains: impl Fn(&DiskId, &DiskId) -> bool) -> Self {
        let ours = Mark::tag(Mark::SITE, site);
        let mut stock =
            Self { store: Handle::new(&*vg.uuid), disks: BTreeMap::new(), strays: BTreeMap::new(), taken: BTreeMap::new() };
        for (name, lv) in &vg.lvs {
            let named = DiskId::of_lv(name);
            let said = Said::of(&lv.tags, &ours);
            if !(said.is_ours && said.is_of_site && matches!(lv.kind, LvKind::Thin { .. })) {
                stock.taken.extend(named.map(|id| (id, name.clone())));
                continue;
            }
            match judge(named.as_ref(), &said, &explains) {
                Ok((id, naming, marks)) => drop(stock.disks.insert(id, disk(lv, naming, marks))),
                // A helper volume of ours has no disk's name and says nothing of an image.
                Err(Stray::Misnamed { should: None }) if named.is_none() && said.is_silent(Mark::IMAGE) => {}
                Err(stray) => {
                    stock.taken.extend(named.map(|id| (id, name.clone())));
                    stock.strays.insert(name.clone(), stray);
                }
            }
        }
        stock
    }

    /// Whether disks of this store were made after more had been offered than a record of it names: it is an older one, put back.
    pub fn is_ahead_of(&self, offered: &Offered) -> bool {
        self.disks.values().any(|disk| disk.marks.is_ahead_of(offered))
    }

    /// The disk that has this device.
    pub fn by_device(&self) -> BTreeMap<(u32, u32), &DiskId> {
        self.disks.iter().filter_map(|(id, disk)| Some((disk.device?, id))).collect()
    }

    /// The disk of this UUID.
    pub fn by_handle(&self, handle: &Handle) -> Option<(&DiskId, &Disk)> {
        self.disks.iter().find(|(_, disk)| disk.handle == *handle)
    }
}

fn disk(lv: &Lv, naming: Naming, marks: Marks) -> Disk {
    let power = match (lv.active, lv.skip_activation) {
        (true, false) => Power::Active,
        (false, false) => Power::Inactive,
        (true, true) => Power::ActiveOnce,
        (false, true) => Power::PassedOver,
    };
    Disk {
        handle: Handle::new(&*lv.uuid),
        size: lv.size,
        marks,
        naming,
        power,
        device: lv.device,
        held: if lv.open { HeldOpen::Open } else { HeldOpen::Closed },
        access: if lv.read_only { Access::ReadOnly } else { Access::ReadWrite },
    }
}

impl Marks {
    /// Whether its disk was made under a record of what was offered, and after more had been offered than that names.
    fn is_ahead_of(&self, offered: &Offered) -> bool {
        self.epoch.is_some_and(|made| made >= offered.begun) && self.after.is_some_and(|after| after > offered.next)
    }
}

/// Whether a volume's tags say that it was made after more had been offered than a record names.
pub fn is_newer_than(tags: &Tags, offered: &Offered) -> bool {
    let (epoch, after) = (parse(tags.value(Mark::EPOCH)), parse(tags.value(Mark::AFTER)));
    Marks { epoch, after, ..Marks::default() }.is_ahead_of(offered)
}

/// The keys of marks that say something of a disk.
const KEYS: [&str; 11] = [
    Mark::IMAGE,
    Mark::VERSION,
    Mark::MACHINE,
    Mark::RESET,
    Mark::EPOCH,
    Mark::AFTER,
    Mark::SIDE,
    Mark::LUN,
    Mark::SHA256,
    Mark::SOURCE,
    Mark::BASE,
];

/// What the tags of a volume say, walked once.
#[derive(Default)]
struct Said<'a> {
    is_ours: bool,
    is_of_site: bool,
    is_filling: bool,
    is_ready: bool,
    /// The values of [`KEYS`], and a second one of each that has two.
    values: [(Option<&'a str>, Option<&'a str>); KEYS.len()],
}

impl<'a> Said<'a> {
    fn of(tags: &'a Tags, ours: &str) -> Self {
        let mut said = Self::default();
        for tag in tags.iter() {
            match tag {
                Mark::OURS => said.is_ours = true,
                Mark::FILLING => said.is_filling = true,
                Mark::READY => said.is_ready = true,
                _ if tag == ours => said.is_of_site = true,
                _ => {
                    let Some((key, value)) = tag.split_once('=') else { continue };
                    let Some(at) = KEYS.iter().position(|known| *known == key) else { continue };
                    match &mut said.values[at] {
                        (one @ None, _) => *one = Some(value),
                        (_, other) => *other = other.or(Some(value)),
                    }
                }
            }
        }
        said
    }

    fn is_silent(&self, key: &str) -> bool {
        KEYS.iter().zip(&self.values).any(|(known, (one, _))| *known == key && one.is_none())
    }
}

/// What a volume with our mark is.
fn judge(
    named: Option<&DiskId>,
    said: &Said<'_>,
    explains: &impl Fn(&DiskId, &DiskId) -> bool,
) -> Result<(DiskId, Naming, Marks), Stray> {
    // A version is both only if it was marked twice; then it is not known whether it may be cloned.
    let filling = match (said.is_filling, said.is_ready) {
        (true, true) => {
            let values = ["filling".to_owned(), "ready".to_owned()];
            return Err(Stray::Conflict { mark: "barista.state".to_owned(), values });
        }
        (true, false) => Filling::Unfinished,
        (false, true) => Filling::Ready,
        (false, false) => Filling::Unmarked,
    };
    for (key, values) in KEYS.iter().zip(&said.values) {
        if let (Some(one), Some(other)) = values {
            return Err(Stray::Conflict { mark: (*key).to_owned(), values: [(*one).to_owned(), (*other).to_owned()] });
        }
    }
    let [image, version, machine, reset, epoch, after, side, lun, sha256, source, base] = said.values.map(|(one, _)| one);
    let (image, machine) = (parse::<ImageName>(image), parse::<MachineName>(machine));
    let marks = Marks {
        version: parse(version),
        reset: match reset {
            Some("every-boot") => Stamp::EveryBoot,
            Some("on-update") => Stamp::OnUpdate,
            Some("never") => Stamp::Never,
            Some(_) | None => Stamp::Unmarked,
        },
        epoch: parse(epoch),
        after: parse(after),
        side: side
            .and_then(|text| text.split_once('.'))
            .and_then(|(image, side)| Some((image.parse().ok()?, side.parse().ok()?))),
        lun: parse(lun).map(Lun),
        sha256: sha256.map(str::to_owned),
        source: source.map(str::to_owned),
        base: base.map(Handle::new),
        filling,
    };
    let should = match (machine, image, &marks.version) {
        (Some(machine), Some(image), _) => {
            let side = match named {
                Some(DiskId::Seat { side, .. }) => *side,
                _ => Side::A,
            };
            Some(DiskId::Seat { machine, image, side })
        }
        (None, Some(image), Some(version)) => Some(DiskId::Version { image, version: version.clone() }),
        (None, Some(image), None) => Some(DiskId::Author { image }),
        (_, None, _) => None,
    };
    match (named, should) {
        (Some(named), Some(should)) if *named == should => Ok((should, Naming::Settled, marks)),
        (Some(named), Some(should)) if explains(&should, named) => Ok((named.clone(), Naming::Behind, marks)),
        (_, should) => Err(Stray::Misnamed { should }),
    }
}

fn parse<T: std::str::FromStr>(text: Option<&str>) -> Option<T> {
    text?.parse().ok()
}

/// Every epoch that a volume's tags name.
pub fn epochs_of(tags: &Tags) -> impl Iterator<Item = u64> {
    tags.iter().filter_map(|tag| tag.strip_prefix(Mark::EPOCH)?.strip_prefix('=')?.parse().ok())
}

/// The tags of a store that speak of the store as a whole: its epoch, on the pool.
pub fn epoch_of(tags: &Tags) -> Option<u64> {
    parse(tags.value(Mark::EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vg(volumes: &[(&str, &str)]) -> Vg {
        let lv = |tags: &str| Lv {
            uuid: "u".into(),
            kind: LvKind::Thin { pool: "pool".into(), origin: None },
            size: Bytes(1 << 30),
            tags: Tags::parse(tags),
            active: true,
            open: false,
            read_only: false,
            skip_activation: false,
            device: None,
        };
        Vg {
            name: "cafe".into(),
            uuid: "vg".into(),
            size: Bytes(0),
            free: Bytes(0),
            extent: Bytes(4 << 20),
            metadata_size: Bytes(0),
            metadata_free: Bytes(0),
            lvs: volumes.iter().map(|(name, tags)| ((*name).to_owned(), lv(tags))).collect(),
        }
    }

    fn stock(volumes: &[(&str, &str)]) -> Stock {
        Stock::of_thin(&vg(volumes), &"cat".parse().expect("legal"), |_, _| false)
    }

    const SEAT: &str = "barista,barista.site=cat,barista.machine=pc01,barista.image=alpha,barista.version=1";

    #[test]
    fn marks_alone_are_no_identity_i() {
        let stock =
            stock(&[("seat.pc01.alpha.a", SEAT), ("evidence", SEAT), ("seat.pc02.alpha.a", SEAT), ("backup.pc01.alpha", SEAT)]);
        assert_eq!(stock.disks.keys().map(ToString::to_string).collect::<Vec<_>>(), ["pc01.alpha.a"]);
        assert_eq!(stock.strays.keys().collect::<Vec<_>>(), ["backup.pc01.alpha", "evidence", "seat.pc02.alpha.a"]);
        assert!(stock.taken.values().any(|name| name == "seat.pc02.alpha.a"), "nothing can be made under its name");
    }

    #[test]
    fn two_values_of_a_mark_are_neither_h() {
        let twice = format!("{SEAT},barista.reset=every-boot,barista.reset=never");
        let stock = stock(&[
            ("seat.pc01.alpha.a", twice.as_str()),
            ("img.a.1", "barista,barista.site=cat,barista.image=a,barista.version=1,barista.state=filling,barista.state=ready"),
        ]);
        assert!(stock.disks.is_empty());
        assert!(matches!(&stock.strays["seat.pc01.alpha.a"], Stray::Conflict { mark, .. } if mark == "barista.reset"));
        assert!(matches!(&stock.strays["img.a.1"], Stray::Conflict { .. }));
    }

    #[test]
    fn a_rename_that_was_cut_off_is_known_by_the_site_l() {
        let volumes = [("seat.pc09.alpha.a", SEAT)];
        let moved = |was: &DiskId, now: &DiskId| was.to_string() == "pc01.alpha.a" && now.to_string() == "pc09.alpha.a";
        let stock = Stock::of_thin(&vg(&volumes), &"cat".parse().expect("legal"), moved);
        assert_eq!(stock.disks.values().map(|disk| disk.naming).collect::<Vec<_>>(), [Naming::Behind]);
    }

    #[test]
    fn what_does_not_say_how_it_is_reset_is_kept() {
        let stock = stock(&[("seat.pc01.alpha.a", SEAT)]);
        assert!(stock.disks.values().all(|disk| disk.marks.reset.is_kept()));
    }

    #[test]
    fn what_is_not_ours_keeps_its_name() {
        let stock = stock(&[("seat.pc01.alpha.a", "somebody"), ("other", "")]);
        assert!(stock.disks.is_empty() && stock.strays.is_empty());
        assert_eq!(stock.taken.len(), 1);
    }
}
