//! The site of a simulated café as its operators change it: the text of each commit, and what follows from it.

use barista::names::{ImageName, MachineName};
use barista::plan::{self, Prepared};
use barista::site::{Entry, Tree, load};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What every name of a target and an initiator begins with.
pub const PREFIX: &str = "iqn.2026-11.example.cat";

/// The volume group.
pub const VG: &str = "cafe";

/// How often a disk is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    EveryBoot,
    OnUpdate,
    Never,
}

impl Reset {
    fn text(self) -> &'static str {
        match self {
            Self::EveryBoot => "every-boot",
            Self::OnUpdate => "on-update",
            Self::Never => "never",
        }
    }
}

/// An image.
#[derive(Debug, Clone)]
pub struct Image {
    pub name: String,
    pub former: Vec<String>,
    pub is_data: bool,
    pub reset: Reset,
    pub current: usize,
    /// Names of versions with the numbers of their source files.
    pub versions: Vec<(String, usize)>,
}

/// The site as its next commit says.
#[derive(Debug, Clone)]
pub struct Cafe {
    /// The names of the machines by their cards; none for one that the site does not have.
    pub machines: Vec<Option<String>>,
    pub former: Vec<Vec<String>>,
    /// alpha, beta, games.
    pub images: Vec<Image>,
    pub has_beta: bool,
    pub may_destroy: Vec<String>,
    pub max_destroy: u32,
    pub sides: u32,
    pub quiet: &'static str,
}

pub const ALPHA: usize = 0;
pub const BETA: usize = 1;
pub const GAMES: usize = 2;

impl Cafe {
    /// A room of so many machines.
    pub fn new(count: usize) -> Self {
        let image = |name: &str, reset, is_data, source| Image {
            name: name.to_owned(),
            former: Vec::new(),
            is_data,
            reset,
            current: 0,
            versions: vec![("v1".to_owned(), source)],
        };
        Self {
            machines: (1..=count).map(|number| Some(format!("pc{number:02}"))).collect(),
            former: vec![Vec::new(); count],
            images: vec![
                image("alpha", Reset::EveryBoot, false, 0),
                image("beta", Reset::Never, false, 1),
                image("games", Reset::OnUpdate, true, 2),
            ],
            has_beta: true,
            may_destroy: Vec::new(),
            max_destroy: 50,
            sides: 2,
            quiet: "8h",
        }
    }

    /// The files of the commit.
    pub fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let consents: Vec<String> = self.may_destroy.iter().map(|consent| format!("\"{consent}\"")).collect();
        files.insert(
            "site.toml".to_owned(),
            format!(
                "name = \"cat\"\n[server]\naddress = \"192.168.77.1\"\n[storage]\nvolume-group = \"{VG}\"\ncreate-pool = true\n\
                 [iscsi]\niqn-prefix = \"{PREFIX}\"\n[policy]\nmax-destroy = {}\nmay-destroy = [{}]\nsides = {}\nquiet = \"{}\"\n",
                self.max_destroy,
                consents.join(", "),
                self.sides,
                self.quiet
            ),
        );
        let lan =
            "interface = \"br0\"\nmode = \"server\"\nsubnet = \"192.168.77.0/24\"\nrange = \"192.168.77.200-192.168.77.249\"\n";
        files.insert("network/lan.toml".to_owned(), lan.to_owned());
        for (slot, image) in self.images.iter().enumerate() {
            if slot == BETA && !self.has_beta {
                continue;
            }
            let mut text = format!(
                "kind = \"disk\"\nsize = \"64MiB\"\nreset = \"{}\"\ncurrent = \"{}\"\n",
                image.reset.text(),
                image.versions[image.current].0
            );
            if image.is_data {
                text.push_str("role = \"data\"\n");
            } else if slot == ALPHA {
                text.push_str(&format!("data-disks = [\"{}\"]\n", self.images[GAMES].name));
            }
            text.push_str(&moved(&image.former, &image.name));
            for (version, source) in &image.versions {
                text.push_str(&format!("[[version]]\nname = \"{version}\"\nsource = \"{}\"\n", source_name(*source)));
            }
            files.insert(format!("images/{}.toml", image.name), text);
        }
        let mut boot = vec![format!("\"{}\"", self.images[ALPHA].name)];
        if self.has_beta {
            boot.push(format!("\"{}\"", self.images[BETA].name));
        }
        let mut text = String::new();
        let moves: Vec<String> = self
            .machines
            .iter()
            .zip(&self.former)
            .filter_map(|(name, former)| name.as_ref().map(|name| (name, former)))
            .flat_map(|(name, former)| former.iter().map(move |from| format!("{{ from = \"{from}\", to = \"{name}\" }}")))
            .collect();
        if !moves.is_empty() {
            text.push_str(&format!("moved = [{}]\n", moves.join(", ")));
        }
        text.push_str(&format!("[defaults]\nboot = [{}]\n", boot.join(", ")));
        for (card, name) in self.machines.iter().enumerate() {
            let Some(name) = name else { continue };
            text.push_str(&format!(
                "[[machine]]\nname = \"{name}\"\nmac = \"52:54:00:77:00:{:02x}\"\nip = \"192.168.77.{}\"\n",
                card + 1,
                101 + card
            ));
        }
        files.insert("machines/row.toml".to_owned(), text);
        files
    }

    /// What follows from the commit; none where it has errors.
    pub fn prepare(&self) -> Option<Arc<Prepared>> {
        let entries = self.files().into_iter().map(|(path, text)| (path, Entry::File(text.into_bytes()))).collect();
        let checked = load(&Tree { entries });
        let site = checked.site?;
        plan::prepare(&site).ok().map(Arc::new)
    }

    /// Why the commit has errors.
    pub fn findings(&self) -> String {
        let entries = self.files().into_iter().map(|(path, text)| (path, Entry::File(text.into_bytes()))).collect();
        load(&Tree { entries }).findings.iter().map(|finding| format!("{finding}\n")).collect()
    }

    /// The slot of an image by any name it has or had.
    pub fn slot(&self, image: &ImageName) -> Option<usize> {
        self.images.iter().position(|of| of.name == image.as_str() || of.former.iter().any(|former| former == image.as_str()))
    }

    /// The card of a machine by any name it has or had.
    pub fn card(&self, machine: &MachineName) -> Option<usize> {
        let is = |card: &usize| {
            self.machines[*card].as_deref() == Some(machine.as_str())
                || self.former[*card].iter().any(|former| former == machine.as_str())
        };
        (0..self.machines.len()).find(is)
    }
}

fn moved(former: &[String], name: &str) -> String {
    if former.is_empty() {
        return String::new();
    }
    let entries: Vec<String> = former.iter().map(|from| format!("{{ from = \"{from}\", to = \"{name}\" }}")).collect();
    format!("moved = [{}]\n", entries.join(", "))
}

/// The name of a source file.
pub fn source_name(number: usize) -> String {
    format!("source{number}.raw")
}
