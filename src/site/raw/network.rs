//! `network/<name>.toml` as it is spelled.
//!
//! **Invariant:** one subnet to a file; its name is the file's.

use super::{Address, AddressRange, ByPlatform, DomainName, InterfaceName, LoaderPath, OptionsTable, Relays, Spanned, Subnet};
use crate::{
    names::Interval,
    site::{NetworkMode, PxeStrategy},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// One subnet, and how the server takes part in its DHCP. The file's name is the network's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
#[schemars(title = "barista: network/<name>.toml")]
pub(in crate::site) struct NetworkFile {
    /// The server's interface this subnet is reached through.
    #[schemars(required)]
    pub(in crate::site) interface: Option<Spanned<InterfaceName>>,
    /// "server": barista is the DHCP server; "proxy": beside a router's DHCP; "off": it says nothing.
    #[schemars(required)]
    pub(in crate::site) mode: Option<Spanned<NetworkMode>>,
    /// The subnet.
    #[schemars(required)]
    pub(in crate::site) subnet: Option<Spanned<Subnet>>,
    /// First and last address for machines without a reservation.
    pub(in crate::site) range: Option<Spanned<AddressRange>>,
    /// The router machines are told.
    pub(in crate::site) router: Option<Spanned<Address>>,
    /// The name servers machines are told, in order.
    pub(in crate::site) dns: Option<Spanned<Vec<Spanned<Address>>>>,
    /// The domain machines are told.
    pub(in crate::site) domain: Option<Spanned<DomainName>>,
    /// How long an address is leased. Default: "12h".
    pub(in crate::site) lease_time: Option<Spanned<Interval>>,
    /// Relay agents that forward this subnet's requests: one address or a list.
    pub(in crate::site) relay: Option<Spanned<Relays>>,
    /// Which loader firmware is told here, by platform. Default: the site's.
    pub(in crate::site) loader: Option<Spanned<ByPlatform<LoaderPath>>>,
    /// How firmware is told its loader here, by platform. Default: the site's.
    pub(in crate::site) pxe: Option<Spanned<ByPlatform<PxeStrategy>>>,
    /// Further DHCP options machines are told here.
    pub(in crate::site) options: Option<Spanned<OptionsTable>>,
}
