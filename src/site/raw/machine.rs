//! `machines/*.toml` as it is spelled.
//!
//! **Invariant:** `[defaults]` holds no key that must differ from machine to machine.

use super::{Address, LoaderPath, OptionsTable, Spanned};
use crate::{
    names::{ImageName, Interval, MacAddr, MachineName},
    site::{Firmware, PxeStrategy},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Any number of machines, with defaults for this file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
#[schemars(title = "barista: machines/*.toml")]
pub(in crate::site) struct MachinesFile {
    /// What the machines of this file have unless they say otherwise.
    pub(in crate::site) defaults: Option<Spanned<DefaultsTable>>,
    /// The machines.
    #[serde(default)]
    pub(in crate::site) machine: Vec<Spanned<MachineTable>>,
    /// Machines that had another name before: keeps their data.
    #[serde(default)]
    pub(in crate::site) moved: Vec<Spanned<Move<MachineName>>>,
}

/// Declares a table with keys of its own, and behind them those that a machine has and `[defaults]` may give it.
macro_rules! table_of_machines {
    ($(#[$about:meta])* $name:ident { $($own:tt)* }) => {
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
        $(#[$about])*
        pub(in crate::site) struct $name {
            $($own)*
            /// What it can boot; the first is the default of the menu.
            pub(in crate::site) boot: Option<Spanned<Vec<Spanned<ImageName>>>>,
            /// What firmware it boots with. Without it no image is held against it.
            pub(in crate::site) firmware: Option<Spanned<Firmware>>,
            /// How long its menu waits before it boots its default. Default: the site's.
            pub(in crate::site) menu_timeout: Option<Spanned<Interval>>,
            /// Which loader its firmware is told: a name ending in .efi for UEFI, any other for BIOS. Default: the network's.
            pub(in crate::site) loader: Option<Spanned<LoaderPath>>,
            /// How its firmware is told the loader. Default: the network's.
            pub(in crate::site) pxe: Option<Spanned<PxeStrategy>>,
            /// Further DHCP options it is told; over its default image's, and those over its network's.
            pub(in crate::site) options: Option<Spanned<OptionsTable>>,
            /// Whether it forgets the router when a disk is attached. Windows otherwise sends what is for its disk through the router.
            /// Default: false.
            pub(in crate::site) clear_gateway: Option<Spanned<bool>>,
            /// Whether it proves itself with CHAP before a disk is attached; the secret stands in [iscsi] chap-secrets. Default: false.
            pub(in crate::site) chap: Option<Spanned<bool>>,
        }
    };
}

table_of_machines! {
    /// What each machine of the file has unless it says otherwise.
    DefaultsTable {}
}

table_of_machines! {
    /// One machine.
    #[schemars(extend("oneOf" = [{ "required": ["mac"] }, { "required": ["macs"] }]))]
    MachineTable {
        /// Its name; also its host name.
        #[schemars(required)]
        pub(in crate::site) name: Option<Spanned<MachineName>>,
        /// Its Ethernet address.
        pub(in crate::site) mac: Option<Spanned<MacAddr>>,
        /// Its Ethernet addresses, in place of mac, if it may boot from more than one.
        pub(in crate::site) macs: Option<Spanned<Vec<Spanned<MacAddr>>>>,
        /// The address reserved for it: within a subnet, outside its range.
        pub(in crate::site) ip: Option<Spanned<Address>>,
    }
}

/// A rename that keeps the data.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table with from and to")]
pub(in crate::site) struct Move<N> {
    /// The name before.
    #[schemars(required)]
    pub(in crate::site) from: Option<Spanned<N>>,
    /// The name now.
    #[schemars(required)]
    pub(in crate::site) to: Option<Spanned<N>>,
}
