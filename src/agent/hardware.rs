//! Which hardware a machine's name stands for: the UUID that its firmware named at a boot from which an operating system came.
//!
//! Two machines with one Ethernet address would take turns at one seat. **Invariant:** only an operating system's session teaches
//! anything; what cannot be read makes nobody another machine, and is not written over: it is not the same as nothing; a UUID that
//! another machine named before tells of none.

use crate::boot::assignment::ClientUuid;
use crate::diagnostic::{Diagnostic, Severity};
use crate::host::{System, chain};
use crate::names::{MacAddr, MachineName, read_document};
use crate::observed::Seen;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

/// Where it lies under the state directory.
const PATH: &str = "hardware.json";

const VERSION: u32 = 1;

/// What is known of every machine's hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    version: u32,
    machines: BTreeMap<MachineName, Known>,
}

/// What is known of one machine's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// What its firmware says; none where others say the same.
    uuid: Option<ClientUuid>,
    /// The Ethernet addresses it had then: with others it is a machine that the site exchanged.
    macs: BTreeSet<MacAddr>,
}

impl Default for Hardware {
    fn default() -> Self {
        Self { version: VERSION, machines: BTreeMap::new() }
    }
}

impl Hardware {
    /// What is known in a state directory.
    pub fn read(system: &System, state: &Path) -> Seen<Self> {
        let unreadable = |why: String| Seen::Unreadable(format!("{}: {why}", state.join(PATH).display()));
        match system.files.read(&state.join(PATH)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Absent,
            Err(error) => unreadable(error.to_string()),
            Ok(bytes) => match String::from_utf8(bytes) {
                Err(error) => unreadable(error.to_string()),
                Ok(text) => read_document(&text, VERSION..=VERSION, |hardware: &Self| hardware.version)
                    .map_or_else(|error| unreadable(chain(&error)), Seen::Present),
            },
        }
    }

    /// Whether anything is known of a machine's.
    pub fn is_known(&self, machine: &MachineName) -> bool {
        self.machines.contains_key(machine)
    }

    fn write(&self, system: &System, state: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).expect("names and addresses always serialise") + "\n";
        system.files.replace(&state.join(PATH), text.as_bytes())
    }

    /// Whether the firmware of a machine that has or had one of these names, and has these addresses, is another than it was.
    pub fn is_other<'n>(
        &self,
        names: impl IntoIterator<Item = &'n MachineName>,
        macs: &[MacAddr],
        uuid: Option<ClientUuid>,
    ) -> bool {
        let Some(uuid) = uuid.filter(|uuid| !uuid.is_placeholder()) else { return false };
        let known = names.into_iter().find_map(|name| self.machines.get(name));
        let known = known.filter(|known| macs.iter().any(|mac| known.macs.contains(mac)));
        // Some boards make theirs of the first card that is switched on, so that it changes with them (metal-hammer 52).
        let is_of_its_cards = |uuid: ClientUuid| macs.iter().any(|mac| mac.octets() == uuid.node());
        known.and_then(|known| known.uuid).is_some_and(|known| !known.is_same(uuid) && !is_of_its_cards(uuid))
    }

    /// Takes in that an operating system came of a boot of this machine; whether that is news.
    fn learn(&mut self, machine: &MachineName, macs: &[MacAddr], uuid: ClientUuid) -> bool {
        if uuid.is_placeholder() {
            return false;
        }
        // What was proven of the other stands: whoever comes later says nothing with it.
        let is_shared = self.machines.iter().any(|(name, other)| {
            name != machine
                && other.uuid.is_some_and(|known| known.is_same(uuid))
                && !macs.iter().any(|mac| other.macs.contains(mac))
        });
        let known = Known { uuid: Some(uuid).filter(|_| !is_shared), macs: macs.iter().copied().collect() };
        let before = self.machines.get(machine);
        // One that others named too stays untold.
        if before.is_some_and(|before| before.macs == known.macs && (before.uuid.is_none() || before.uuid == known.uuid)) {
            return false;
        }
        self.machines.insert(machine.clone(), known);
        true
    }
}

/// What is to be told where it does not read.
pub fn trouble(state: &Path, why: &str) -> Diagnostic {
    let path = state.join(PATH).display().to_string();
    let what = format!(
        "which hardware each machine is cannot be read: {why}; what the agent knew before counts, and nothing is learned"
    );
    let mend =
        format!("bring it back from a copy; or move it away (mv {path} {path}.damaged), and every machine is learned anew");
    Diagnostic::whole(Severity::Error, "hardware-unreadable", path, what, mend)
}

/// Takes in what was learned, in the file too; what is known then. Where that does not read, nothing is learned and nothing written.
pub fn learn(system: &System, state: &Path, learned: &[(MachineName, Vec<MacAddr>, ClientUuid)]) -> io::Result<Seen<Hardware>> {
    if learned.is_empty() {
        return Ok(Hardware::read(system, state));
    }
    let _held = system.files.lock(&state.join(PATH))?;
    let mut hardware = match Hardware::read(system, state) {
        Seen::Unreadable(why) => return Ok(Seen::Unreadable(why)),
        Seen::Absent => Hardware::default(),
        Seen::Present(hardware) => hardware,
    };
    let news = learned.iter().filter(|(machine, macs, uuid)| hardware.learn(machine, macs, *uuid)).count();
    if news > 0 {
        hardware.write(system, state)?;
    }
    Ok(Seen::Present(hardware))
}

/// Forgets a machine's hardware: the next that boots under its name is it. Whether anything was known; an error where that does not read.
pub fn accept(system: &System, state: &Path, machine: &MachineName) -> io::Result<bool> {
    let _held = system.files.lock(&state.join(PATH))?;
    let mut hardware = match Hardware::read(system, state) {
        Seen::Unreadable(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
        Seen::Absent => return Ok(false),
        Seen::Present(hardware) => hardware,
    };
    let was_known = hardware.machines.remove(machine).is_some();
    if was_known {
        hardware.write(system, state)?;
    }
    Ok(was_known)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use super::*;

    fn uuid(text: &str) -> Option<ClientUuid> {
        Some(text.parse().expect("a UUID"))
    }

    const ONE: &str = "4c4c4544-0042-3510-8054-b2c04f4d3132";
    const TWO: &str = "4c4c4544-0042-3510-8054-b2c04f4d3133";

    #[test]
    fn another_machine_is_told_from_the_same_and_from_what_tells_nothing() {
        let (pc01, pc02): (MachineName, MachineName) = ("pc01".parse().expect("legal"), "pc02".parse().expect("legal"));
        let macs: [MacAddr; 2] = ["52:54:00:77:00:01", "52:54:00:77:00:02"].map(|mac| mac.parse().expect("legal"));
        let mut hardware = Hardware::default();
        assert!(!hardware.is_other([&pc01], &macs[..1], uuid(ONE)), "nothing is known");
        assert!(hardware.learn(&pc01, &macs[..1], uuid(ONE).expect("there")));
        assert!(!hardware.learn(&pc01, &macs[..1], uuid(ONE).expect("there")), "no news");
        assert!(!hardware.is_other([&pc01], &macs[..1], uuid(ONE)));
        assert!(hardware.is_other([&pc01], &macs[..1], uuid(TWO)));
        let renamed: MachineName = "pc09".parse().expect("legal");
        assert!(hardware.is_other([&renamed, &pc01], &macs[..1], uuid(TWO)), "a name of today, with one it had");
        assert!(!hardware.is_other([&pc01], &macs[1..], uuid(TWO)), "the site says another machine");
        assert!(!hardware.is_other([&pc01], &macs[..1], None), "some firmware says none");
        let same_in_uefi = "44454c4c-4200-1035-8054-b2c04f4d3132";
        assert!(!hardware.is_other([&pc01], &macs[..1], uuid(same_in_uefi)), "SMBIOS has its first fields in either order");
        let of_its_card = "00000000-0000-1000-8000-525400770001";
        assert!(!hardware.is_other([&pc01], &macs[..1], uuid(of_its_card)), "made of its own card");
        // FOG 196: every board of one maker said the second.
        let placeholders = [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "03000200-0400-0500-0006-000700080009",
        ];
        for placeholder in placeholders {
            assert!(!hardware.is_other([&pc01], &macs[..1], uuid(placeholder)), "{placeholder}");
        }
        assert!(hardware.learn(&pc02, &macs[1..], uuid(ONE).expect("there")), "edk2-platforms 276: one for every board");
        assert!(!hardware.is_other([&pc02], &macs[1..], uuid(TWO)), "its own says nothing");
        assert!(hardware.is_other([&pc01], &macs[..1], uuid(TWO)), "and takes nothing from the other");
    }

    #[test]
    fn what_does_not_read_is_not_nothing_and_is_never_written_over() {
        let state = tempfile::tempdir().expect("a directory");
        let system = System { files: std::sync::Arc::new(crate::host::RealFiles), ..crate::host::fake::FakeHost::new().system() };
        let path = state.path().join(PATH);
        let pc01: MachineName = "pc01".parse().expect("legal");
        let learned = [(pc01.clone(), vec!["52:54:00:77:00:01".parse().expect("legal")], uuid(ONE).expect("there"))];
        assert_eq!(Hardware::read(&system, state.path()), Seen::Absent);
        learn(&system, state.path(), &learned).expect("written");
        let whole = system.files.read(&path).expect("it is there");
        let newer = String::from_utf8(whole.clone()).expect("text").replace("\"version\": 1", "\"version\": 2").into_bytes();
        for spoiled in [&b""[..], b"\0\0", b"{\"version\": \xff", &whole[..whole.len() / 2], &newer] {
            system.files.replace(&path, spoiled).expect("spoiled");
            let seen = learn(&system, state.path(), &learned).expect("nothing else is wrong");
            assert!(matches!(&seen, Seen::Unreadable(why) if why.contains("hardware.json")), "{seen:?}");
            assert!(matches!(Hardware::read(&system, state.path()), Seen::Unreadable(_)));
            accept(&system, state.path(), &pc01).expect_err("nobody knows what is known of it");
            assert_eq!(system.files.read(&path).expect("it is there"), spoiled, "it is left for whoever mends it");
        }
        system.files.replace(&path, &whole).expect("mended");
        assert!(accept(&system, state.path(), &pc01).expect("it reads"));
    }
}
