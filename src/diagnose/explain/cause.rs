//! Why a boot stopped, as a value, and what to do about it in words.
//!
//! **Invariant:** every cause names its mend, and no two causes have the same.

use crate::{
    boot::assignment::{RefusalCode, WaitCode},
    diagnostic::{Diagnostic, Severity},
    names::{ClientArch, ImageName, MacAddr},
};
use serde::Serialize;
use std::net::Ipv4Addr;

/// Why a boot stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Cause {
    /// No packet of the machine was ever heard.
    NeverHeard,
    /// It asked for an address and this server had no reason to answer.
    NotAnswered,
    /// No network of the site is on the interface it was heard on.
    NoNetwork,
    /// The network's DHCP is off.
    NetworkOff,
    /// Every address is given away.
    NoAddress,
    /// It was told that it may not have the address it wants.
    AddressRefused,
    /// It took another server's offer.
    OtherServer {
        /// Whose.
        server: Ipv4Addr,
    },
    /// It heard our offer and never took it.
    OfferUnanswered {
        /// Other servers that were seen on the networks of this one.
        others: Vec<Ipv4Addr>,
    },
    /// Beside another server: nobody gave it an address.
    NoAddressFromOther,
    /// No loader runs on it.
    NoLoaderForArch {
        /// What it is.
        arch: ClientArch,
    },
    /// Its loader is not among the files.
    LoaderMissing {
        /// Which.
        file: String,
    },
    /// It was told which loader to fetch and never asked for it.
    LoaderNotFetched {
        /// Which.
        file: String,
    },
    /// It asked by TFTP for a file that nobody here told it of.
    StrangeFile {
        /// Which.
        file: String,
    },
    /// What runs on it asked for a file that is not there.
    NextFileMissing {
        /// What runs.
        by: String,
        /// What it asked for.
        file: String,
    },
    /// A transfer did not come to its end.
    TransferUnfinished {
        /// Of which file.
        file: String,
    },
    /// It has the loader, and the loader never asked for an address.
    LoaderSilent {
        /// Which.
        file: String,
        /// What the firmware said it is.
        firmware: Option<ClientArch>,
    },
    /// The loader that it is given lacks what the scripts need, and is replaced by itself again and again.
    LoaderLoop {
        /// Which.
        file: String,
    },
    /// iPXE has its address and never fetched its script.
    ScriptNotFetched {
        /// Where it lies.
        url: String,
    },
    /// It fetched the first script and not its own.
    MachineScriptNotFetched,
    /// It is in no file of the site.
    UnknownMachine {
        /// The address it asked with.
        mac: MacAddr,
    },
    /// A kernel or initial RAM disk is not in the asset store.
    AssetMissing {
        /// Its path in the store.
        path: String,
    },
    /// It fetches its script again and again.
    ScriptLoop {
        /// How often in this boot.
        times: u64,
    },
    /// It has its script, and no disk yet.
    NoDisk {
        /// Of which image.
        image: ImageName,
        /// Why.
        code: WaitCode,
    },
    /// It has its script, and is refused its disk.
    DiskRefused {
        /// Of which image.
        image: ImageName,
        /// Why.
        code: RefusalCode,
    },
    /// Its target takes no logins.
    TargetDisabled {
        /// Which.
        target: String,
    },
    /// It has its script, its targets are there, and nobody is logged in.
    NoSession {
        /// The targets.
        targets: Vec<String>,
    },
}

/// A cause with its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// What is the matter, and what to do about it.
    pub diagnostic: Diagnostic,
}

impl Cause {
    /// This with its words.
    pub fn finding(self) -> Finding {
        let (what, mend) = self.words();
        let diagnostic = Diagnostic::whole(Severity::Error, self.code(), "boot", what, mend);
        Finding { cause: self, diagnostic }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NeverHeard => "never-heard",
            Self::NotAnswered => "not-answered",
            Self::NoNetwork => "no-network",
            Self::NetworkOff => "network-off",
            Self::NoAddress => "no-address",
            Self::AddressRefused => "address-refused",
            Self::OtherServer { .. } => "other-server",
            Self::OfferUnanswered { .. } => "offer-unanswered",
            Self::NoAddressFromOther => "no-address-from-other",
            Self::NoLoaderForArch { .. } => "no-loader-for-arch",
            Self::LoaderMissing { .. } => "loader-missing",
            Self::LoaderNotFetched { .. } => "loader-not-fetched",
            Self::StrangeFile { .. } => "strange-file",
            Self::NextFileMissing { .. } => "next-file-missing",
            Self::TransferUnfinished { .. } => "transfer-unfinished",
            Self::LoaderSilent { .. } => "loader-silent",
            Self::LoaderLoop { .. } => "loader-loop",
            Self::ScriptNotFetched { .. } => "script-not-fetched",
            Self::MachineScriptNotFetched => "machine-script-not-fetched",
            Self::UnknownMachine { .. } => "unknown-machine",
            Self::AssetMissing { .. } => "asset-missing",
            Self::ScriptLoop { .. } => "script-loop",
            Self::NoDisk { .. } => "no-disk",
            Self::DiskRefused { .. } => "disk-refused",
            Self::TargetDisabled { .. } => "target-disabled",
            Self::NoSession { .. } => "no-session",
        }
    }

    fn words(&self) -> (String, String) {
        let pair = |what: &str, mend: &str| (what.to_owned(), mend.to_owned());
        match self {
            Self::NeverHeard => pair(
                "no packet of this machine was ever heard",
                "see that it boots from the network first, that its cable and switch port are in the network's VLAN, and that \
                 `barista serve` runs and listens on the right interface (barista doctor)",
            ),
            Self::NotAnswered => pair(
                "it asked and was not answered",
                "read the last step: it says why; with two DHCP servers on one network, switch one off",
            ),
            Self::NoNetwork => pair(
                "it is on an interface, or behind a relay agent, that no network of the site names",
                "add a file under network/ for it, or add the relay agent's address to `relay`",
            ),
            Self::NetworkOff => pair(
                "DHCP is off on its network, so this server told it nothing",
                "set mode = \"server\" or \"proxy\" for the network, or put what `barista export` prints into the other server",
            ),
            Self::NoAddress => pair(
                "no address is left for it",
                "give it an `ip` of its own, or widen the network's `range`",
            ),
            Self::AddressRefused => pair(
                "it wants an address that it may not have",
                "start it again, so that it asks anew; if another machine has its reserved address, find that one",
            ),
            Self::OtherServer { server } => (
                format!("another DHCP server, {server}, answered it first"),
                format!("switch DHCP off on {server}, or set mode = \"proxy\" for the network"),
            ),
            Self::OfferUnanswered { others } if !others.is_empty() => {
                let others = others.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ");
                (
                    "it was offered an address and never took it; another DHCP server was seen".to_owned(),
                    format!("another DHCP server answers on this network: switch DHCP off on {others}, or set mode = \"proxy\""),
                )
            }
            Self::OfferUnanswered { .. } => pair(
                "it was offered an address and never took it: the offer did not arrive, or another DHCP server was faster",
                "look for another DHCP server (barista doctor); then see that the switch lets broadcasts through, that both are in \
                 one VLAN, and that spanning tree does not keep the port closed after link-up (portfast)",
            ),
            Self::NoAddressFromOther => pair(
                "it was told what to boot, but nobody gave it an address: mode = \"proxy\" leaves that to another DHCP server",
                "see that the router's DHCP server runs and has free addresses, or set mode = \"server\" for the network",
            ),
            Self::NoLoaderForArch { arch } => (
                format!("there is no loader for {arch}"),
                "set the firmware to x64 UEFI or to legacy BIOS boot; for ARM put ipxe-arm64.efi among the loaders".to_owned(),
            ),
            Self::LoaderMissing { file } => (
                format!("its loader {file} is not among the loaders"),
                format!("install the package ipxe, or put {file} where `loaders` under [boot] points"),
            ),
            Self::LoaderNotFetched { file } => (
                format!("it was told to fetch {file} and never asked for it by TFTP"),
                "let UDP port 69 through the firewall, and see that tftp-address is an address of this server that the machine \
                 reaches; some firmware needs Secure Boot or its IPv4 PXE stack set for this"
                    .to_owned(),
            ),
            Self::StrangeFile { file } => (
                format!("it asked for {file:?}, which nobody here told it of"),
                "another DHCP server names that boot file (its option 67): remove it there, or put the file among the loaders"
                    .to_owned(),
            ),
            Self::NextFileMissing { by, file } => (
                format!("{by} runs there and asked for {file:?}, which is not among the loaders"),
                "put it there by that name: a shim wants its second stage beside itself, U-Boot its script, PXELINUX and GRUB their \
                 configuration"
                    .to_owned(),
            ),
            Self::TransferUnfinished { file } => (
                format!("the transfer of {file} began and did not end"),
                "packets are lost on the way: a firewall that lets port 69 through and not the transfer's own ports, a smaller MTU \
                 on the path, a bad cable"
                    .to_owned(),
            ),
            Self::LoaderSilent { file, firmware } => {
                let secure = match firmware {
                    Some(arch) if *arch != ClientArch::BIOS => "switch Secure Boot off in the firmware (it refuses a loader that \
                        is not signed); if it is off, ",
                    _ => "",
                };
                let instead = match file.as_str() {
                    "undionly.kpxe" => "ipxe.pxe, which brings drivers of its own",
                    "ipxe.efi" => "snponly.efi, which uses the firmware's driver",
                    _ => "one with another driver",
                };
                (
                    format!("it has {file}, and that never asked for an address: it does not run, or does not drive this network card"),
                    format!("{secure}give it another loader: {instead}"),
                )
            }
            Self::LoaderLoop { file } => (
                format!("the iPXE it is given ({file}) lacks HTTP or iSCSI itself and is fetched again and again"),
                "put an iPXE with HTTP and iSCSI among the loaders: the package ipxe has both".to_owned(),
            ),
            Self::ScriptNotFetched { url } => (
                format!("iPXE has an address and never fetched {url}"),
                "let that TCP port through the firewall, see that http-address is an address of this server that the machine \
                 reaches, and that `barista serve` listens there (barista doctor)"
                    .to_owned(),
            ),
            Self::MachineScriptNotFetched => pair(
                "it fetched boot.ipxe and not its own script",
                "see its screen: iPXE names the error there and tries again every five seconds",
            ),
            Self::UnknownMachine { mac } => (
                "it is in no file of the site".to_owned(),
                format!("barista machine add --from-seen {mac} --site DIR, then commit and push"),
            ),
            Self::AssetMissing { path } => (
                format!("{path} is not in the asset store"),
                format!("put it at assets/{path} under the state directory, readable for the service"),
            ),
            Self::ScriptLoop { times } => (
                format!("it fetched its script {times} times in this boot"),
                "see its screen: the script ends at once, or iPXE cannot run it; `barista check` renders every template".to_owned(),
            ),
            Self::NoDisk { image, code } => (format!("{image} {}", code.words()), mend_of_wait(*code).to_owned()),
            Self::DiskRefused { image, code } => (format!("{image} {}", code.words()), mend_of_refusal(*code).to_owned()),
            Self::TargetDisabled { target } => (
                format!("its target {target} takes no logins"),
                "barista plan says what is to be done; the agent enables it, unless something holds it".to_owned(),
            ),
            Self::NoSession { targets } => (
                format!(
                    "it has its script, and nobody is logged in to {}: it is switched off again, waits at its menu, or its login fails",
                    targets.join(", ")
                ),
                "if its screen shows a login error: let TCP port 3260 through the firewall, see that iscsi-address is reachable, \
                 and that a template of the site does not set another initiator-iqn than the target's ACL has"
                    .to_owned(),
            ),
        }
    }
}

/// What to do where a machine waits for its disk.
fn mend_of_wait(code: WaitCode) -> &'static str {
    match code {
        WaitCode::NoAgent => {
            "see that the agent runs and what it says (systemctl status barista-agent, barista status): it assigns the disks"
        }
        WaitCode::NoCleanSide => {
            "leave it on: it goes on as soon as its last boot is proven off or a new disk is made; if it never does, barista plan \
             names what the disk waits for"
        }
        WaitCode::Making => {
            "leave it on: it goes on within seconds; if it never does, barista status says what failed of making its disk"
        }
        WaitCode::NoSpace => {
            "make space in the volume group, or remove versions that nobody boots (barista status shows how full it is)"
        }
        WaitCode::Filling => "leave it on: barista status shows how far the image is",
        WaitCode::Moving => {
            "leave it on: the data disk moves when the boot before is proven off, within about a minute of a reset"
        }
        WaitCode::TooMany => {
            "leave it on: it asks again by itself; if every machine waits so, the agent is slow (barista status)"
        }
        WaitCode::Held => "barista plan says what holds the change that makes the disk",
        WaitCode::Other => "barista status says it; install the same version of barista for the agent and for serve",
    }
}

/// What to do where a machine is refused its disk.
fn mend_of_refusal(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::OtherHardware => {
            "if the machine was exchanged on purpose, barista machine accept takes the new one; if not, two machines have one address"
        }
        RefusalCode::OtherAddress => {
            "give the machine its reserved address, or set fetch-address = \"not-contradicted\" under [policy]"
        }
        RefusalCode::NotInSite => {
            "if it is to boot again, put it back into the site; if not, leave it off until its seat is gone"
        }
        RefusalCode::Other => "barista status says why; install the same version of barista for the agent and for serve",
    }
}
