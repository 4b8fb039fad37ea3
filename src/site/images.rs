//! The rules of `images/*.toml`, each image for itself and all of them together.
//!
//! **Invariant:** an image that is there but wrong is still known by its name, so that nothing that refers to it is called
//! unknown.

use super::{
    Disk, Firmware, Image, ImageKind, Linux, Reset, Role, Source, SourceFormat, Version,
    networks::Whole,
    options,
    raw::{ImageFile, Kind, Spanned, VersionTable},
    report::{FileId, Place, Report, error, note, warning},
    spelling,
    table::Table,
};
use crate::names::{Bytes, ImageName, MenuKey, VersionName};
use std::collections::BTreeMap;

/// A disk is made of whole sectors; LVM rounds up to its own extents by itself.
const SECTOR: u64 = 512;
/// A thin pool with chunks of 64 KiB addresses 15.88 TiB in all.
const LARGEST: Bytes = Bytes(15 << 40);
/// Data disks of one image: Windows has no letters for more disks than C to Z.
const MOST_DATA_DISKS: usize = 23;
/// Keys of every kind.
const COMMON: [&str; 7] = ["kind", "title", "menu-title", "key", "firmware", "options", "moved"];
/// What a packed source's name ends in.
const PACKED: [&str; 6] = [".zst", ".gz", ".xz", ".bz2", ".zip", ".7z"];

/// An image, as far as it is understood.
pub(super) struct Judged {
    /// The image; `None` if something of it was reported.
    pub(super) image: Option<Image>,
    /// What it is, if that much is known.
    kind: Option<Kind>,
    role: Role,
    firmware: Option<(Firmware, Place)>,
    key: Option<MenuKey>,
    attach: Option<(ImageName, Place)>,
    data_disks: Vec<(ImageName, Place)>,
    versions: BTreeMap<VersionName, Place>,
}

impl Judged {
    /// When a clone of it is thrown away, if it is a disk that was understood.
    fn reset(&self) -> Option<Reset> {
        match &self.image.as_ref()?.kind {
            ImageKind::Disk(disk) => Some(disk.reset),
            ImageKind::Linux(_) | ImageKind::Local => None,
        }
    }
}

/// All images of a site.
#[derive(Default)]
pub(super) struct Images {
    pub(super) by_name: BTreeMap<ImageName, Judged>,
    /// Whether every file was understood so far that its image's name is known.
    pub(super) whole: Whole,
}

/// How an image can serve where it is named.
pub(super) enum Use {
    /// A machine boots it.
    Boot,
    /// A machine has it beside its system disk.
    Data,
    /// A kernel has it attached.
    Attach,
}

impl Images {
    /// None yet, of files that were or were not all readable.
    pub(super) fn new(whole: Whole) -> Self {
        Self { whole, ..Self::default() }
    }

    /// Reports an image that is named where it cannot serve.
    pub(super) fn judge_use(&self, report: &mut Report<'_>, place: Place, name: &ImageName, wanted: &Use) {
        let Some(judged) = self.by_name.get(name) else {
            if self.whole == Whole::No {
                return;
            }
            if report.is_full(place) {
                report.push(error("unknown-image", place, format!("there is no image {name}")));
            } else {
                let known: Vec<&str> = self.by_name.keys().map(ImageName::as_str).collect();
                let guess = spelling::did_you_mean(name.as_str(), known.iter().copied());
                let hint = match known.len() {
                    _ if name.as_str() == "local" => "add images/local.toml with the line: kind = \"local\"".to_owned(),
                    0 => format!("add images/{name}.toml"),
                    1..=12 => format!("{guess}images of this site: {}", known.join(", ")),
                    _ => format!("{guess}or add images/{name}.toml"),
                };
                report.push(error("unknown-image", place, format!("there is no image {name}")).hint(hint));
            }
            return;
        };
        let problem = match (wanted, judged.kind, judged.role) {
            (Use::Boot, Some(Kind::Disk), Role::Data) => {
                error("image-role", place, format!("image {name} has role = \"data\" and cannot be booted"))
                    .hint("list it in data-disks of the image that is booted")
            }
            (Use::Attach, Some(Kind::Disk), Role::Data) => {
                error("image-role", place, format!("image {name} has role = \"data\" and cannot be attached by itself"))
                    .hint("name the image that lists it in data-disks")
            }
            (Use::Attach, Some(kind @ (Kind::Linux | Kind::Local)), _) => {
                error("image-kind", place, format!("image {name} is of kind \"{}\" and is no disk to attach", kind.as_str()))
                    .hint("name an image with kind = \"disk\"")
            }
            (Use::Data, Some(Kind::Disk), Role::System) => {
                error("image-role", place, format!("image {name} has role = \"system\" and is no data disk"))
                    .hint(format!("set role = \"data\" in images/{name}.toml"))
            }
            (Use::Data, Some(kind @ (Kind::Linux | Kind::Local)), _) => {
                error("image-kind", place, format!("image {name} is of kind \"{}\" and is no data disk", kind.as_str()))
                    .hint("a data disk is an image with kind = \"disk\" and role = \"data\"")
            }
            _ => return,
        };
        report.push(problem);
    }

    /// The firmware an image needs, where it says so, and where it says so.
    pub(super) fn firmware(&self, name: &ImageName) -> Option<(Firmware, Place)> {
        self.by_name.get(name)?.firmware
    }

    /// The key that an image asks for.
    pub(super) fn key(&self, name: &ImageName) -> Option<MenuKey> {
        self.by_name.get(name)?.key
    }

    /// The disk that an image wants attached.
    pub(super) fn attached(&self, name: &ImageName) -> Option<&ImageName> {
        self.by_name.get(name)?.attach.as_ref().map(|(disk, _)| disk)
    }

    /// The disks a machine gets for an image: itself if it is a disk, and its data disks.
    pub(super) fn disks<'a>(&'a self, name: &'a ImageName) -> impl Iterator<Item = &'a ImageName> {
        let judged = self.by_name.get(name).filter(|judged| judged.kind == Some(Kind::Disk));
        judged.into_iter().flat_map(move |judged| std::iter::once(name).chain(judged.data_disks.iter().map(|(disk, _)| disk)))
    }

    /// One of the images that are reset at every boot.
    pub(super) fn reset_at_boot(&self) -> Option<&ImageName> {
        let is_it = |judged: &Judged| judged.role == Role::System && judged.reset() == Some(Reset::EveryBoot);
        self.by_name.iter().find(|(_, judged)| is_it(judged)).map(|(name, _)| name)
    }

    /// One of the images that are disks.
    pub(super) fn any_disk(&self) -> Option<&ImageName> {
        self.by_name.iter().find(|(_, judged)| judged.kind == Some(Kind::Disk)).map(|(name, _)| name)
    }

    /// The versions of every image with their places.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&ImageName, &VersionName, Place)> {
        self.by_name.iter().flat_map(|(name, judged)| judged.versions.iter().map(move |(version, at)| (name, version, *at)))
    }
}

/// Judges one file by itself.
pub(super) fn judge(report: &mut Report<'_>, file: FileId, name: &ImageName, raw: &ImageFile) -> Judged {
    let root = Table::root(file);
    let whose = format!("image {name}");
    let hint = "add kind = \"disk\"; kinds are disk, linux, local";
    let kind = root.need(report, &raw.kind, "kind", (&whose, hint)).map(|kind| kind.value);
    let firmware = raw.firmware.as_ref().map(|firmware| (firmware.value, report.start_of_line(root.of(firmware))));
    let role = raw.role.as_ref().map_or(Role::System, |role| role.value);
    let mut judged = Judged {
        image: None,
        kind,
        role,
        firmware,
        key: raw.key.as_ref().map(|key| key.value),
        attach: raw.attach.as_ref().map(|disk| (disk.value.clone(), root.of(disk))),
        data_disks: Vec::new(),
        versions: BTreeMap::new(),
    };
    let options = options::judge(report, file, raw.options.as_ref(), options::Of::Machine);
    let Some(kind) = kind else { return judged };
    refuse_foreign_keys(report, file, kind, raw);
    let what = match kind {
        Kind::Disk => judge_disk(report, root, &whose, raw, &mut judged).map(ImageKind::Disk),
        Kind::Linux => judge_linux(report, root, &whose, raw).map(ImageKind::Linux),
        Kind::Local => Some(ImageKind::Local),
    };
    judged.image = what.map(|kind| Image {
        name: name.clone(),
        title: raw.title.as_ref().map_or_else(|| name.to_string(), |title| title.value.to_string()),
        menu_title: menu_title(name, raw),
        key: judged.key,
        firmware: firmware.map_or(Firmware::Any, |(firmware, _)| firmware),
        options,
        kind,
    });
    judged
}

/// What the boot menu calls an image: iPXE's console draws ASCII only.
fn menu_title(name: &ImageName, raw: &ImageFile) -> String {
    let own = raw.menu_title.as_ref().map(|title| title.value.to_string());
    let title = raw.title.as_ref().map(|title| title.value.to_string()).filter(|title| title.is_ascii());
    own.or(title).unwrap_or_else(|| name.to_string())
}

/// Reports keys that belong to another kind.
fn refuse_foreign_keys(report: &mut Report<'_>, file: FileId, kind: Kind, raw: &ImageFile) {
    fn start<T>(field: &Option<Spanned<T>>) -> Option<u32> {
        field.as_ref().map(|field| field.start)
    }
    let given = [
        ("role", start(&raw.role)),
        ("size", start(&raw.size)),
        ("reset", start(&raw.reset)),
        ("current", start(&raw.current)),
        ("data-disks", start(&raw.data_disks)),
        ("version", raw.version.first().map(|version| version.start)),
        ("kernel", start(&raw.kernel)),
        ("initrd", start(&raw.initrd)),
        ("args", start(&raw.args)),
        ("attach", start(&raw.attach)),
    ];
    for (key, at) in given {
        if let (Some(at), false) = (at, kind.keys().contains(&key)) {
            let place = report.start_of_line(file.at(at));
            let message = format!("{key} has no meaning in an image of kind \"{}\"", kind.as_str());
            let legal: Vec<&str> = COMMON.iter().chain(kind.keys()).copied().collect();
            report.push(error("key-of-another-kind", place, message).hint(format!("legal here: {}", legal.join(", "))));
        }
    }
}

fn judge_disk(report: &mut Report<'_>, root: Table, whose: &str, raw: &ImageFile, judged: &mut Judged) -> Option<Disk> {
    let ask = |hint| (whose, hint);
    let size = root.need(report, &raw.size, "size", ask("add a line such as: size = \"64GiB\""));
    if let Some(size) = size {
        judge_size(report, root.of(size), size.value);
    }
    let mut versions = BTreeMap::new();
    for table in &raw.version {
        judge_version(report, root, table, judged, &mut versions);
    }
    if raw.version.is_empty() && !root.excuses(report, "version") {
        let hint = "add: [[version]] and below it name = \"1\" and source = \"file.raw\", or blank = true";
        report.push(error("missing-version", root.place(), format!("{whose} has no version")).hint(hint));
    }
    let named = judged.versions.keys().next_back().map_or("2026-11", VersionName::as_str);
    let hint = format!("add the line: current = \"{named}\"");
    // Whoever writes version = "…" means the current one.
    let is_meant = raw.current.is_none() && root.excuses(report, "version");
    let current = if is_meant { None } else { root.need(report, &raw.current, "current", (whose, &hint)) };
    if let Some(current) = current
        && !judged.versions.is_empty()
        && !judged.versions.contains_key(&current.value)
    {
        let known: Vec<&str> = judged.versions.keys().map(VersionName::as_str).collect();
        let guess = spelling::did_you_mean(current.value.as_str(), known.iter().copied());
        let message = format!("{whose} has no version {}", current.value);
        report
            .push(error("unknown-version", root.of(current), message).hint(format!("{guess}its versions: {}", known.join(", "))));
    }
    if let Some(list) = raw.data_disks.as_ref().filter(|list| list.value.len() > MOST_DATA_DISKS) {
        let message = format!("{whose} has {} data disks; {MOST_DATA_DISKS} are the most", list.value.len());
        report.push(error("too-many-data-disks", root.of(list), message).hint("put what belongs together on one disk"));
    }
    for entry in raw.data_disks.iter().flat_map(|list| &list.value).take(MOST_DATA_DISKS) {
        judged.data_disks.push((entry.value.clone(), root.of(entry)));
    }
    Some(Disk {
        role: judged.role,
        size: size?.value,
        reset: raw.reset.as_ref().map_or(Reset::EveryBoot, |reset| reset.value),
        current: current?.value.clone(),
        data_disks: judged.data_disks.iter().map(|(name, _)| name.clone()).collect(),
        versions,
    })
}

fn judge_size(report: &mut Report<'_>, place: Place, size: Bytes) {
    if size.0 == 0 {
        let problem = error("size-not-whole-sectors", place, "size is 0, and a disk of it holds nothing");
        report.push(problem.hint("write the size of the machines' disk, such as \"64GiB\""));
    } else if !size.0.is_multiple_of(SECTOR) {
        let problem =
            error("size-not-whole-sectors", place, format!("size {size} is not made of whole sectors, {} each", Bytes(SECTOR)));
        report.push(problem.hint("use a larger unit, such as 64GiB"));
    } else if size > LARGEST {
        let problem =
            error("size-too-large", place, format!("size {size} is larger than {LARGEST}, the most a thin volume takes"));
        report.push(problem.hint("make it smaller, or add a data disk"));
    }
}

fn judge_version(
    report: &mut Report<'_>,
    root: Table,
    table: &Spanned<VersionTable>,
    judged: &mut Judged,
    versions: &mut BTreeMap<VersionName, Version>,
) {
    let owner = Table::at(root.file(), table.start);
    let VersionTable { name, source, blank, sha256 } = &table.value;
    let name = owner.need(report, name, "name", ("a version", "add a line such as: name = \"2026-11\""));
    if let Some(name) = name {
        match judged.versions.get(&name.value) {
            Some(first) => {
                report.push(
                    error("duplicate-version", owner.of(name), format!("version {} is there twice", name.value))
                        .hint_at("the first is", *first),
                );
            }
            None => {
                judged.versions.insert(name.value.clone(), owner.of(name));
            }
        }
    }
    let blank_at = blank.as_ref().filter(|blank| blank.value);
    let choice = "give exactly one of: source = \"file.raw\", or blank = true";
    if let (Some(_), Some(blank)) = (source, blank_at) {
        report.push(error("source-and-blank", owner.of(blank), "a version with a source cannot be blank").hint(choice));
    } else if let (Some(sha256), Some(_)) = (sha256, blank_at) {
        report.push(
            error("sha256-of-nothing", owner.of(sha256), "a blank version has nothing that sha256 could be of")
                .hint("remove sha256"),
        );
    } else if source.is_none() && blank_at.is_none() && !owner.excuses(report, "source") && !owner.excuses(report, "blank") {
        report.push(error("missing-source", owner.place(), "a version has neither source nor blank = true").hint(choice));
    }
    let filled = match (source, blank_at) {
        (Some(source), _) => judge_source(report, owner.of(source), &source.value.to_string()).map(|format| Source::File {
            path: source.value.to_string(),
            format,
            sha256: sha256.as_ref().map(|sha256| sha256.value.to_string()),
        }),
        (None, Some(_)) => Some(Source::Blank),
        (None, None) => None,
    };
    if let (Some(name), Some(source)) = (name, filled) {
        versions.insert(name.value.clone(), Version { name: name.value.clone(), source });
    }
}

fn judge_source(report: &mut Report<'_>, place: Place, path: &str) -> Option<SourceFormat> {
    let formats = [
        (".raw", SourceFormat::Raw),
        (".img", SourceFormat::Raw),
        (".qcow2", SourceFormat::Qcow2),
        (".vhdx", SourceFormat::Vhdx),
    ];
    let format = formats.iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, format)| *format);
    if format.is_none() {
        let endings =
            "the ending says how it is read: .raw or .img, .qcow2, .vhdx; convert others with qemu-img convert -O qcow2";
        let problem = match PACKED.iter().find(|ending| path.ends_with(**ending)) {
            Some(ending) => {
                error("source-compressed", place, format!("source {path:?}: compressed sources ({ending}) are not supported yet"))
                    .hint("unpack it in the image store and name the unpacked file")
            }
            None => {
                let lower = path.rsplit_once('.').map(|(stem, ending)| format!("{stem}.{}", ending.to_ascii_lowercase()));
                let known = lower.filter(|lower| formats.iter().any(|(ending, _)| lower.ends_with(ending)));
                let is_medium = path.to_ascii_lowercase().ends_with(".iso");
                let medium = "an .iso is a medium to install from, and no disk that was installed: write blank = true in place of source, \
                    and install onto it";
                let hint = known.map_or(if is_medium { medium } else { endings }.to_owned(), |lower| {
                    format!("endings are read in small letters: rename the file in the image store, and write source = {lower:?}")
                });
                error("source-format", place, format!("source {path:?} has no ending that is known")).hint(hint)
            }
        };
        report.push(problem);
    }
    format
}

/// Endings of what holds a kernel and is none: firmware that boots by this name would start a disk or an archive as a program.
const NO_KERNEL: [&str; 9] = [".iso", ".img", ".qcow2", ".raw", ".vhdx", ".vmdk", ".wim", ".zip", ".tar"];

fn judge_linux(report: &mut Report<'_>, root: Table, whose: &str, raw: &ImageFile) -> Option<Linux> {
    let hint = "add a line such as: kernel = \"rescue/vmlinuz\"";
    let kernel = root.need(report, &raw.kernel, "kernel", (whose, hint))?;
    let name = kernel.value.to_string();
    if let Some(ending) = NO_KERNEL.iter().find(|ending| name.to_ascii_lowercase().ends_with(**ending)) {
        let problem = error("kernel-format", root.of(kernel), format!("kernel {name:?} ends in {ending}, and is no kernel"));
        report.push(problem.hint("write the kernel's own file, which such a medium or disk holds: vmlinuz or linux"));
    }
    Some(Linux {
        kernel: kernel.value.to_string(),
        initrd: raw.initrd.iter().flat_map(|list| &list.value).map(|path| path.value.to_string()).collect(),
        args: raw.args.as_ref().map_or_else(String::new, |args| args.value.to_string()),
        attach: raw.attach.as_ref().map(|disk| disk.value.clone()),
    })
}

/// Judges what one image says of others.
pub(super) fn judge_together(report: &mut Report<'_>, images: &Images) {
    note_kept_disks(report, images);
    warn_of_disks_that_are_thrown_away(report, images);
    for (name, judged) in &images.by_name {
        if let (Some(Kind::Linux), Some((disk, place))) = (judged.kind, &judged.attach) {
            images.judge_use(report, *place, disk, &Use::Attach);
        }
        if let (Role::Data, Some((_, place))) = (judged.role, judged.data_disks.first()) {
            let problem =
                error("image-role", *place, format!("image {name} has role = \"data\" and cannot have data disks of its own"));
            report.push(problem.hint("list them in the image that is booted"));
            continue;
        }
        let mut seen = BTreeMap::new();
        for (disk, place) in &judged.data_disks {
            if disk == name {
                let problem = error("data-disk-of-itself", *place, format!("image {name} names itself as its data disk"));
                report.push(problem.hint("name an image with role = \"data\""));
            } else if let Some(first) = seen.insert(disk, *place) {
                report.push(
                    error("duplicate-data-disk", *place, format!("data disk {disk} is listed twice"))
                        .hint_at("the first is", first),
                );
            } else {
                images.judge_use(report, *place, disk, &Use::Data);
            }
        }
    }
}

/// What an installer writes to a disk that is new at each boot is thrown away before anybody boots it.
fn warn_of_disks_that_are_thrown_away(report: &mut Report<'_>, images: &Images) {
    for (name, judged) in images.by_name.iter().filter(|(_, judged)| judged.kind == Some(Kind::Linux)) {
        let Some((disk, place)) = &judged.attach else { continue };
        if images.by_name.get(disk).and_then(Judged::reset) == Some(Reset::EveryBoot) {
            let message = format!("what {name} writes to {disk} is thrown away: {disk} is new at every boot");
            let hint = format!("attach an image with reset = \"never\", or write it in images/{disk}.toml");
            report.push(warning("attached-disk-is-reset", *place, message).hint(hint));
        }
    }
}

/// A data disk that is kept follows its machine to the side that it boots.
fn note_kept_disks(report: &mut Report<'_>, images: &Images) {
    let resets = |name: &ImageName| images.by_name.get(name)?.reset();
    for (name, judged) in images.by_name.iter().filter(|(name, _)| resets(name) == Some(Reset::EveryBoot)) {
        for (disk, place) in &judged.data_disks {
            if resets(disk).is_some_and(|reset| reset != Reset::EveryBoot) {
                let message = format!(
                    "{disk} is the same disk at every boot and {name} is not: after a reset a machine waits up to a minute, until it is \
                     shown that nobody works on {disk} any more"
                );
                report.push(note("kept-disk-waits", *place, message));
            }
        }
    }
}
