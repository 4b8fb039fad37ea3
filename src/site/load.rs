//! The way from a tree to a site: files are sorted and read, then judged in the order in which they depend on each other.
//!
//! **Invariant:** every step runs whatever the ones before it found, and none calls something missing or unknown whose own
//! problem was reported already.

use super::{
    HostPath, Network, Site, Tree, advice,
    files::{self, FileGroup, Files, SiteText},
    images::{self, Images},
    machines::{self, MachineRules, Machines},
    moves::Moves,
    networks::{self, Networks, Whole},
    options,
    raw::{ImageFile, MachineTable, MachinesFile, NetworkFile, SiteFile, Spanned},
    read,
    report::{FileId, Problem, Report, error, warning},
    settings::{self, Settings},
    strangers, syntax,
};
use crate::diagnostic::{Diagnostic, Severity};
use crate::names::{ImageName, MachineName};
use std::collections::{BTreeMap, BTreeSet};

/// What a tree came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The site; `Some` if and only if no finding is an error.
    pub site: Option<Site>,
    /// Everything that is wrong or doubtful, in the order of its places.
    pub findings: Vec<Diagnostic>,
    /// The paths of its server that the site names.
    pub paths: Vec<HostPath>,
}

impl Checked {
    /// Judges each path of the server that the site names: for one that is not allowed, `judge` gives the message and the hint.
    #[must_use]
    pub fn judge_paths(mut self, judge: impl Fn(&HostPath) -> Option<(String, String)>) -> Self {
        let refused = |path: &HostPath| judge(path).map(|(message, hint)| path.refuse(message, hint));
        self.findings.extend(self.paths.iter().filter_map(refused).collect::<Vec<_>>());
        self.findings.sort();
        self.site = self.site.filter(|_| self.findings.iter().all(|finding| finding.severity != Severity::Error));
        self
    }
}

/// Reads a site from the text of its files.
pub fn load(tree: &Tree) -> Checked {
    let mut report = Report::default();
    let files = files::sort(&mut report, tree);
    let (site, paths) = judge(&mut report, &files);
    let site = if report.is_clean() { site } else { None };
    Checked { site, findings: report.finish(), paths }
}

fn judge<'a>(report: &mut Report<'a>, files: &Files<'a>) -> (Option<Site>, Vec<HostPath>) {
    let (mut moved_images, mut moved_machines) = (Moves::default(), Moves::default());
    let settings = read_settings(report, files);
    let mut networks = read_networks(report, &files.networks, &settings);
    let images = read_images(report, &files.images, &mut moved_images);
    images::judge_together(report, &images);
    machines::judge_version_lengths(report, &settings, &images);
    let around = MachineRules { settings: &settings, images: &images };
    let machines = read_machines(report, &files.machines, &around, &mut networks, &mut moved_machines);
    let server = settings.server.as_ref().zip(settings.server_place);
    networks::judge_together(report, &mut networks, &images, server);
    options::judge_together(report, &networks, &images, &machines);
    if let Some(disk) = images.any_disk() {
        settings.judge_for_disks(report, disk.as_str());
    }
    let moved_images = moved_images.judge(report, "image", |name| images.by_name.contains_key(name), images.whole);
    let moved_machines = moved_machines.judge(report, "machine", |name| machines.names.contains_key(name), machines.whole);
    judge_emptiness(report, files, &settings, &machines);
    let paths = settings.paths(report);
    (assemble(settings, networks, images, machines, (moved_machines, moved_images), files), paths)
}

fn read_settings(report: &mut Report<'_>, files: &Files<'_>) -> Settings {
    let Some(text) = &files.site else { return settings::judge(report, None, SiteFile::default()) };
    let table = syntax::parse(report, text);
    let sections = ["server", "storage", "iscsi", "boot", "policy"];
    let raw = read::read_file(report, text.file, table, &sections);
    settings::judge(report, Some(text.file), raw)
}

/// The parsed name of a file under `images/` or `network/`, which names what it holds.
fn stem<N: std::str::FromStr<Err = crate::names::NameError>>(
    report: &mut Report<'_>,
    (file, stem): (FileId, &str),
    shelf: &FileGroup<'_>,
) -> Option<N> {
    match stem.parse() {
        Ok(name) => Some(name),
        Err(problem) => {
            let path = report.path(file);
            let directory = path.split('/').next().unwrap_or("");
            let hint = match advice::name(stem, "").filter(|near| near.parse::<N>().is_ok()) {
                _ if strangers::copied_from(stem, shelf.stems()).is_some() => format!("delete this copy: rm '{path}'"),
                Some(near) => format!("rename the file to {directory}/{near}.toml"),
                None => format!("rename the file: {directory}/<name>.toml, with letters a-z, digits and '-'"),
            };
            report.push(error("file-name", file.whole(), problem.to_string()).hint(hint));
            None
        }
    }
}

fn read_networks(report: &mut Report<'_>, shelf: &FileGroup<'_>, settings: &Settings) -> Networks {
    let mut networks = Networks::new(shelf.whole);
    for text in &shelf.files {
        let table = syntax::parse(report, text);
        let raw: NetworkFile = read::read_file(report, text.file, table, &["loader", "pxe", "options"]);
        let judged =
            stem(report, (text.file, text.stem), shelf).and_then(|name| networks::judge(report, text.file, name, &raw, settings));
        match judged {
            Some(judged) => networks.add(report, judged),
            None => networks.whole = Whole::No,
        }
    }
    networks
}

fn read_images(report: &mut Report<'_>, shelf: &FileGroup<'_>, moves: &mut Moves<ImageName>) -> Images {
    let mut images = Images::new(shelf.whole);
    for text in &shelf.files {
        let mut table = syntax::parse(report, text);
        let (versions, moved) = (read::take_entries(&mut table, "version"), read::take_entries(&mut table, "moved"));
        let mut raw: ImageFile = read::read_file(report, text.file, table, &["options"]);
        raw.version = read::read_entries(report, text.file, (versions, "version"));
        raw.moved = read::read_entries(report, text.file, (moved, "moved"));
        moves.read(report, text.file, &raw.moved);
        match stem::<ImageName>(report, (text.file, text.stem), shelf) {
            Some(name) => {
                let judged = images::judge(report, text.file, &name, &raw);
                images.by_name.insert(name, judged);
            }
            None => images.whole = Whole::No,
        }
    }
    images
}

fn read_machines(
    report: &mut Report<'_>,
    shelf: &FileGroup<'_>,
    around: &MachineRules<'_>,
    networks: &mut Networks,
    moves: &mut Moves<MachineName>,
) -> Machines {
    let mut machines = Machines::new(shelf.whole);
    let mut raws: Vec<(&SiteText<'_>, MachinesFile)> = Vec::new();
    for text in &shelf.files {
        let mut table = syntax::parse(report, text);
        let (entries, moved) = (read::take_entries(&mut table, "machine"), read::take_entries(&mut table, "moved"));
        let expected = entries.len();
        let mut raw: MachinesFile = read::read_file(report, text.file, table, &["defaults"]);
        raw.machine = read::read_entries(report, text.file, (entries, "machine"));
        raw.moved = read::read_entries(report, text.file, (moved, "moved"));
        if report.is_partial(text.file) || raw.machine.len() < expected {
            machines.whole = Whole::No;
        }
        raws.push((text, raw));
    }
    // A file that is named as the copy of another is judged after it, so that the copy is blamed.
    raws.sort_by_key(|(text, _)| strangers::copied_from(text.stem, shelf.stems()).is_some());
    let mut judged: Vec<(FileId, BTreeSet<String>)> = Vec::new();
    for (text, raw) in &raws {
        let own = identities(raw);
        if let Some((first, _)) = judged.iter().find(|(_, other)| !own.is_empty() && own.is_subset(other)) {
            report.push(copy_of_machines(report.path(*first), text, own.len(), shelf));
            continue;
        }
        judged.push((text.file, own));
        moves.read(report, text.file, &raw.moved);
        let defaults = around.judge_defaults(report, text.file, raw.defaults.as_ref());
        for entry in &raw.machine {
            around.judge(report, (networks, &mut machines), (text.file, &defaults), entry);
        }
    }
    machines
}

/// What makes each machine of a file itself: its name and its first Ethernet address; nothing where one of them has not both.
fn identities(raw: &MachinesFile) -> BTreeSet<String> {
    let identity = |entry: &Spanned<MachineTable>| {
        let MachineTable { name, mac, macs, .. } = &entry.value;
        let first = macs.as_ref().and_then(|macs| macs.value.first()).map(|mac| mac.value);
        let mac = mac.as_ref().map(|mac| mac.value).or(first)?;
        Some(format!("{} {mac}", name.as_ref()?.value))
    };
    raw.machine.iter().map(identity).collect::<Option<_>>().unwrap_or_default()
}

/// One mistake, and not one for each name and address of a row.
fn copy_of_machines(first: &str, text: &SiteText<'_>, count: usize, shelf: &FileGroup<'_>) -> Problem {
    let all = if count == 1 { "its machine is".to_owned() } else { format!("its {count} machines are all") };
    let hint = match strangers::copied_from(text.stem, shelf.stems()) {
        Some(_) => format!("delete this copy: rm 'machines/{}.toml'", text.stem),
        None => "delete one of the two files, or give these machines names and addresses of their own".to_owned(),
    };
    error("copy-of-a-file", text.file.whole(), format!("{all} in {first} too")).hint(hint)
}

/// An empty checkout must never read as "destroy everything". Whether a host has machines to lose is the plan's question.
fn judge_emptiness(report: &mut Report<'_>, files: &Files<'_>, settings: &Settings, machines: &Machines) {
    let is_whole = machines.whole == Whole::Yes && files.machines.whole == Whole::Yes && files.images.whole == Whole::Yes;
    let (Some(text), true, 0, false) = (&files.site, is_whole, machines.entries, settings.permits_everything()) else { return };
    let machines = "machines in machines/room.toml: [[machine]], and below it name, mac and boot";
    let added = "git status shows files that git add forgot";
    if files.images.files.is_empty() {
        let problem = error("empty-site", text.file.whole(), "empty site: there is no machine and no image");
        report.push(problem.hint(format!("add an image in images/, and {machines}; {added}")));
    } else if report.is_clean() {
        let problem = warning("no-machine", text.file.whole(), "the site has no machine, so nothing boots from this server");
        report.push(problem.hint(format!("add {machines}; {added}")));
    }
}

/// A text without the mark that some editors of Windows put before it; iPXE would read it as part of the first word.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn assemble(
    settings: Settings,
    networks: Networks,
    images: Images,
    machines: Machines,
    (moved_machines, moved_images): (BTreeMap<MachineName, BTreeSet<MachineName>>, BTreeMap<ImageName, BTreeSet<ImageName>>),
    files: &Files<'_>,
) -> Option<Site> {
    let image = |(name, judged): (ImageName, images::Judged)| judged.image.map(|image| (name, image));
    let network = |judged: networks::Judged| -> Network { judged.network };
    Some(Site {
        name: settings.name?,
        server: settings.server?,
        storage: settings.storage,
        iscsi: settings.iscsi,
        boot: settings.boot,
        policy: settings.policy,
        networks: networks.by_name.into_iter().map(|(name, judged)| (name, network(judged))).collect(),
        images: images.by_name.into_iter().map(image).collect::<Option<_>>()?,
        machines: machines.by_name,
        moved_machines,
        moved_images,
        templates: files.templates.files.iter().map(|text| (text.stem.to_owned(), without_mark(text.text).to_owned())).collect(),
    })
}
