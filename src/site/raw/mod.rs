//! The files of a site as they are spelled: the one source of what a key may be, for the reader and for the schemas.
//!
//! **Invariant:** every key is optional here and every value legal by itself; what must be there, and what must fit
//! together, is judged afterwards, so that one problem never hides another.

mod address;
mod consent;
mod image;
mod machine;
mod network;
mod options;
mod path;
mod platform;
mod settings;
mod spanned;
mod text;

pub(super) use address::{Address, AddressRange, DomainName, InterfaceName, Relays, Subnet};
pub(super) use image::{ImageFile, Kind, VersionTable};
pub(super) use machine::{DefaultsTable, MachineTable, MachinesFile, Move};
pub(super) use network::NetworkFile;
pub(super) use options::{OptionValue, OptionsTable};
pub(super) use path::{AssetPath, Directory, FilePath, LoaderPath, Sha256, SourcePath};
pub(super) use platform::ByPlatform;
pub(super) use settings::{BootTable, IscsiTable, PolicyTable, ServerTable, SiteFile, StorageTable};
pub(super) use spanned::Spanned;
pub(super) use text::{KernelArgs, MenuTitle, Title};

/// Gives a newtype over [`String`] its printed form, and with [`crate::names::string_form`] its serde forms.
macro_rules! text_form {
    ($type:ident, $title:literal, $pattern:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }
        crate::names::string_form!($type, $title, $pattern);
    };
}
use text_form;
