//! The one table of DHCP option numbers, and of the sub-options inside 43, 82 and 175.
//!
//! **Invariant:** no other file of this room writes an option's number as a literal.
//! Follows RFC 2132, 3004, 3011, 3046, 3527, 4578, 5107, the PXE 2.1 specification §2.2.2 and iPXE's `include/ipxe/dhcp.h`.

/// Subnet mask.
pub const SUBNET_MASK: u8 = 1;
/// Routers.
pub const ROUTER: u8 = 3;
/// Name servers.
pub const NAME_SERVER: u8 = 6;
/// Host name.
pub const HOST_NAME: u8 = 12;
/// Domain name.
pub const DOMAIN_NAME: u8 = 15;
/// Broadcast address.
pub const BROADCAST_ADDRESS: u8 = 28;
/// Vendor-specific information: PXE's own sub-options.
pub const VENDOR_INFORMATION: u8 = 43;
/// Requested address.
pub const REQUESTED_ADDRESS: u8 = 50;
/// Lease time in seconds.
pub const LEASE_TIME: u8 = 51;
/// Which of `file` and `sname` hold options: 1, 2, or 3 for both.
pub const OVERLOAD: u8 = 52;
/// DHCP message type.
pub const MESSAGE_TYPE: u8 = 53;
/// Server identifier.
pub const SERVER_ID: u8 = 54;
/// Options the client asks for.
pub const PARAMETER_LIST: u8 = 55;
/// A sentence for the client: why it was refused.
pub const MESSAGE: u8 = 56;
/// The longest message the client takes.
pub const MAX_MESSAGE_SIZE: u8 = 57;
/// T1: when to renew, in seconds.
pub const RENEWAL_TIME: u8 = 58;
/// T2: when to rebind, in seconds.
pub const REBINDING_TIME: u8 = 59;
/// Vendor class identifier: `PXEClient:Arch:00007:UNDI:003016`.
pub const VENDOR_CLASS: u8 = 60;
/// Client identifier.
pub const CLIENT_ID: u8 = 61;
/// TFTP server name.
pub const TFTP_SERVER_NAME: u8 = 66;
/// Boot file name.
pub const BOOT_FILE_NAME: u8 = 67;
/// User class.
pub const USER_CLASS: u8 = 77;
/// Relay agent information.
pub const RELAY_INFORMATION: u8 = 82;
/// Client system architecture.
pub const CLIENT_ARCH: u8 = 93;
/// Client machine identifier: a zero octet and a GUID.
pub const CLIENT_UUID: u8 = 97;
/// The subnet a client without its own relay asks an address of (RFC 3011).
pub const SUBNET_SELECTION: u8 = 118;
/// iPXE's encapsulated options.
pub const IPXE: u8 = 175;
/// Ends the options.
pub const END: u8 = 255;

/// Sub-options of [`VENDOR_INFORMATION`] in a PXE message.
pub mod pxe {
    /// How boot servers are discovered.
    pub const DISCOVERY_CONTROL: u8 = 6;
    /// Bit 3 of it: use the boot file of this message, discover nothing.
    pub const USE_BOOT_FILE: u8 = 8;
    /// Bits 0 and 1: ask no boot server by broadcast or multicast, only those of the list.
    pub const NO_DISCOVERY: u8 = 3;
    /// Boot servers: a type, and the addresses of those that have it.
    pub const BOOT_SERVERS: u8 = 8;
    /// The boot menu: types with what a person reads.
    pub const BOOT_MENU: u8 = 9;
    /// What the menu's prompt says, and how long it waits; 0 takes the first item at once.
    pub const MENU_PROMPT: u8 = 10;
    /// The boot item chosen from a menu: type and layer.
    pub const BOOT_ITEM: u8 = 71;
}

/// Sub-options of [`IPXE`].
pub mod ipxe {
    /// Feature: iSCSI.
    pub const FEATURE_ISCSI: u8 = 0x11;
    /// Feature: HTTP.
    pub const FEATURE_HTTP: u8 = 0x13;
    /// The server has said everything: do not wait for proxyDHCP.
    pub const NO_PXEDHCP: u8 = 0xb0;
}

/// Sub-options of [`RELAY_INFORMATION`].
pub mod relay {
    /// The subnet to choose an address from, where it is not giaddr's (RFC 3527).
    pub const LINK_SELECTION: u8 = 5;
    /// The address that stands for the server, so that renewals come through the relay as well (RFC 5107).
    pub const SERVER_ID_OVERRIDE: u8 = 11;
    /// The relay listens at the port it sent from (RFC 8357).
    pub const SOURCE_PORT: u8 = 19;
}
