//! The files that machines load by TFTP, and which of them is the loader of an architecture.
//!
//! **Invariant:** only files that were found in the loaders' directory are served, from memory and by name, so no request of a
//! machine ever opens a path; and a program of one architecture is never told to another.

use crate::names::Platform;
use hyper::body::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What an iPXE that nothing is embedded in asks for, beside its own file and then at the root (iPXE
/// `interface/efi/efi_autoexec.c`); the signed ones cannot have anything embedded (C36).
pub const AUTOEXEC: &str = "autoexec.ipxe";

/// The files by name, a path with `/` below the loaders' directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaders {
    files: BTreeMap<String, Bytes>,
    /// Names in lower case, and how they are spelled.
    spelled: BTreeMap<String, String>,
    /// Names of files that are there, and too large to be served.
    left_out: BTreeSet<String>,
}

/// What will start a loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starter {
    /// Firmware, which may insist on a signature.
    Firmware,
    /// An iPXE that runs already, so a shim has nothing to vouch for, and no file to load beside itself.
    Ipxe,
}

/// Why an architecture has no loader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLoader {
    /// The file is not there.
    #[error("{0} is not among the loaders")]
    Missing(String),
    /// The file is a program of another architecture.
    #[error("{file} is a program for machine {machine:#06x}, not for {platform}")]
    Foreign {
        /// The file.
        file: String,
        /// What its PE header says.
        machine: u16,
        /// What asked.
        platform: Platform,
    },
}

impl Loaders {
    /// The file of this name, as firmware spells it: `/` or `\` before and between, in any case (C24).
    pub fn find(&self, requested: &str) -> Option<(&str, &Bytes)> {
        let name = normalise(requested)?;
        let found = |name: &str| {
            let known = self.files.get_key_value(name);
            known.or_else(|| self.files.get_key_value(self.spelled.get(&name.to_ascii_lowercase())?))
        };
        let at_root = || name.rsplit_once('/').filter(|(_, file)| *file == AUTOEXEC).and_then(|(_, file)| found(file));
        found(&name).or_else(at_root).map(|(name, bytes)| (name.as_str(), bytes))
    }

    /// Takes note of files that are there, and too large to be served.
    pub fn leave_out(&mut self, names: impl IntoIterator<Item = String>) {
        self.left_out.extend(names);
    }

    /// Whether a file is there and too large to be served.
    pub fn is_left_out(&self, requested: &str) -> bool {
        normalise(requested).is_some_and(|name| self.left_out.contains(&name))
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Adds a file of ours, unless the operator has one of that name.
    pub fn add(&mut self, name: &str, bytes: Bytes) {
        if self.find(name).is_none() {
            self.spelled.insert(name.to_ascii_lowercase(), name.to_owned());
            self.files.insert(name.to_owned(), bytes);
        }
    }

    /// Whether a file stands at the root, or in a directory there: where a Raspberry Pi looks by its serial number (C28).
    pub fn has_near_root(&self, file: &str) -> bool {
        self.names().any(|name| match name.split_once('/') {
            None => name == file,
            Some((_, rest)) => rest == file,
        })
    }

    /// The loader for a platform: the one that is wanted, else the first that is there of those it usually has.
    pub fn choose(&self, platform: Platform, starter: Starter, wanted: Option<&str>) -> Result<&str, NoLoader> {
        if let Some(wanted) = wanted {
            let (name, bytes) = self.find(wanted).ok_or_else(|| NoLoader::Missing(wanted.to_owned()))?;
            return judge(name, bytes, platform).map(|()| name);
        }
        if let Some(shim) = self.shim(platform).filter(|_| starter == Starter::Firmware) {
            return Ok(shim);
        }
        let usual = usual(platform);
        let mut foreign = None;
        for (name, bytes) in usual.iter().filter_map(|name| self.find(name)) {
            match judge(name, bytes, platform) {
                Ok(()) => return Ok(name),
                Err(error) => foreign = foreign.or(Some(error)),
            }
        }
        Err(foreign.unwrap_or_else(|| NoLoader::Missing(usual[0].to_owned())))
    }

    /// A signed shim whose second stage stands beside it. No packet says whether Secure Boot is on, and a shim starts either
    /// way, so it is told whenever it is there (C36).
    fn shim(&self, platform: Platform) -> Option<&str> {
        let (directories, endings): (&[&str], &[&str]) = match platform {
            Platform::UefiX64 => (&["", "x86_64-sb/"], &["-shimx64.efi", "-shim.efi"]),
            Platform::UefiArm64 => (&["", "arm64-sb/"], &["-shimaa64.efi", "-shim.efi"]),
            Platform::Bios | Platform::UefiIa32 | Platform::UefiArm32 => return None,
        };
        let fits = |name: &str| self.find(name).filter(|(name, bytes)| judge(name, bytes, platform).is_ok());
        directories
            .iter()
            // `ipxe` first: some firmware gives a shim no name of its own, and it then asks for ipxe.efi (iPXE issue 1684).
            .flat_map(|directory| ["ipxe", "snponly"].map(|stem| format!("{directory}{stem}")))
            .filter(|stem| fits(&format!("{stem}.efi")).is_some())
            .find_map(|stem| endings.iter().find_map(|ending| fits(&format!("{stem}{ending}"))))
            .map(|(name, _)| name)
    }
}

impl FromIterator<(String, Bytes)> for Loaders {
    fn from_iter<I: IntoIterator<Item = (String, Bytes)>>(loaders: I) -> Self {
        let files: BTreeMap<String, Bytes> = loaders.into_iter().collect();
        let spelled = files.keys().map(|name| (name.to_ascii_lowercase(), name.clone())).collect();
        Self { files, spelled, left_out: BTreeSet::new() }
    }
}

/// What the loader of a platform is called where nobody says otherwise.
pub fn usual_loader(platform: Platform) -> &'static str {
    usual(platform)[0]
}

/// A requested name as a path below the loaders' directory; `None` where it would leave it.
fn normalise(requested: &str) -> Option<String> {
    let parts: Vec<&str> = requested.split(['/', '\\']).filter(|part| !matches!(*part, "" | ".")).collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

/// What the loader of a platform is called: by its project, in its archive, by Debian, Fedora and those who rename it.
fn usual(platform: Platform) -> &'static [&'static str] {
    match platform {
        Platform::Bios => &["undionly.kpxe"],
        Platform::UefiIa32 => &["ipxe-i386.efi", "ipxe-ia32.efi", "i386-efi/ipxe.efi", "i386/ipxe.efi"],
        Platform::UefiX64 => &["ipxe.efi", "ipxe-x86_64.efi", "x86_64-efi/ipxe.efi", "x86_64/ipxe.efi", "x86_64-sb/ipxe.efi"],
        Platform::UefiArm32 => &["ipxe-arm32.efi", "arm32-efi/ipxe.efi", "arm32/ipxe.efi"],
        Platform::UefiArm64 => &[
            "ipxe-arm64.efi",
            "snponly-arm64.efi",
            "arm64-efi/ipxe.efi",
            "arm64-efi/snponly.efi",
            "arm64/ipxe.efi",
            "arm64-sb/ipxe.efi",
        ],
    }
}

/// Refuses a program that says it is for another machine; what is no program says nothing.
fn judge(file: &str, bytes: &[u8], platform: Platform) -> Result<(), NoLoader> {
    match pe_machine(bytes) {
        Some(machine) if platform.pe_machine() != Some(machine) => {
            Err(NoLoader::Foreign { file: file.to_owned(), machine, platform })
        }
        _ => Ok(()),
    }
}

/// The machine number of a PE program: two octets behind the signature that the DOS header points to.
fn pe_machine(bytes: &[u8]) -> Option<u16> {
    let at = bytes.get(0x3c..0x40).filter(|_| bytes.starts_with(b"MZ"))?;
    let at = usize::try_from(u32::from_le_bytes(at.try_into().ok()?)).ok()?;
    let machine = bytes.get(at..at.checked_add(6)?)?.strip_prefix(b"PE\0\0")?;
    Some(u16::from_le_bytes(machine.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pe(machine: u16) -> Bytes {
        let mut bytes = vec![0; 0x46];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x40;
        bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
        bytes[0x44..].copy_from_slice(&machine.to_le_bytes());
        bytes.into()
    }

    fn loaders(files: &[(&str, Bytes)]) -> Loaders {
        files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect()
    }

    fn chosen(files: &[(&str, Bytes)], platform: Platform) -> Result<String, NoLoader> {
        loaders(files).choose(platform, Starter::Firmware, None).map(str::to_owned)
    }

    #[test]
    fn a_name_is_found_as_firmware_spells_it_and_never_above_the_directory_c24() {
        let all = loaders(&[("ipxe.efi", pe(0x8664)), ("pxelinux.cfg/C0A80165", Bytes::from_static(b"x"))]);
        for name in ["ipxe.efi", "/ipxe.efi", "\\IPXE.EFI", "./ipxe.efi", "pxelinux.cfg/c0a80165", "pxelinux.cfg\\C0A80165"] {
            assert!(all.find(name).is_some(), "{name}");
        }
        for name in ["", "/", ".", "..", "../ipxe.efi", "a/../ipxe.efi", "..\\ipxe.efi", "pxelinux.cfg", "pxelinux.cfg/"] {
            assert!(all.find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_program_is_never_told_to_another_architecture_c3() {
        let wrong = [("ipxe-arm64.efi", pe(0x8664))];
        assert!(matches!(chosen(&wrong, Platform::UefiArm64), Err(NoLoader::Foreign { machine: 0x8664, .. })));
        let both = [("ipxe-arm64.efi", pe(0x8664)), ("arm64-efi/ipxe.efi", pe(0xaa64)), ("ipxe.efi", pe(0x8664))];
        assert_eq!(chosen(&both, Platform::UefiArm64).as_deref(), Ok("arm64-efi/ipxe.efi"));
        assert_eq!(chosen(&both, Platform::UefiIa32), Err(NoLoader::Missing("ipxe-i386.efi".into())));
        let all = loaders(&both);
        assert!(matches!(
            all.choose(Platform::UefiX64, Starter::Firmware, Some("arm64-efi/ipxe.efi")),
            Err(NoLoader::Foreign { .. })
        ));
        assert_eq!(all.choose(Platform::UefiX64, Starter::Firmware, Some("none.efi")), Err(NoLoader::Missing("none.efi".into())));
    }

    #[test]
    fn a_shim_is_told_only_with_its_second_stage_beside_it_c36() {
        let x64 = || pe(0x8664);
        let alone = [("ipxe-shimx64.efi", x64()), ("x86_64-sb/ipxe.efi", x64())];
        assert_eq!(chosen(&alone, Platform::UefiX64).as_deref(), Ok("x86_64-sb/ipxe.efi"));
        let pair = [("ipxe-shimx64.efi", x64()), ("ipxe.efi", x64()), ("snponly-shim.efi", x64()), ("snponly.efi", x64())];
        assert_eq!(chosen(&pair, Platform::UefiX64).as_deref(), Ok("ipxe-shimx64.efi"));
        assert_eq!(loaders(&pair).choose(Platform::UefiX64, Starter::Ipxe, None), Ok("ipxe.efi"), "an iPXE runs already");
        assert_eq!(chosen(&pair[2..], Platform::UefiX64).as_deref(), Ok("snponly-shim.efi"));
        let archive = [("arm64-sb/snponly-shim.efi", pe(0xaa64)), ("arm64-sb/snponly.efi", pe(0xaa64)), ("ipxe.efi", x64())];
        assert_eq!(chosen(&archive, Platform::UefiArm64).as_deref(), Ok("arm64-sb/snponly-shim.efi"));
        let mixed = [("ipxe-shimaa64.efi", pe(0xaa64)), ("ipxe.efi", x64())];
        assert!(chosen(&mixed, Platform::UefiArm64).is_err(), "its second stage is x64's");
    }

    #[test]
    fn an_autoexec_script_is_found_beside_every_loader_and_the_operators_own_wins_c36() {
        let mut all = loaders(&[("arm64-sb/ipxe.efi", pe(0xaa64))]);
        all.add(AUTOEXEC, Bytes::from_static(b"ours"));
        for name in ["autoexec.ipxe", "arm64-sb/autoexec.ipxe", "/anything/autoexec.ipxe"] {
            assert_eq!(all.find(name).map(|(_, bytes)| &bytes[..]), Some(&b"ours"[..]), "{name}");
        }
        let mut own = loaders(&[("autoexec.ipxe", Bytes::from_static(b"own"))]);
        own.add(AUTOEXEC, Bytes::from_static(b"ours"));
        assert_eq!(own.find(AUTOEXEC).map(|(_, bytes)| &bytes[..]), Some(&b"own"[..]));
    }
}
