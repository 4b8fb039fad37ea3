//! What a method and a path ask for.
//!
//! **Invariant:** every path has exactly one meaning, and no path leads out of the assets.

use crate::{
    boot::{assignment::ClientUuid, loaders::AUTOEXEC},
    names::{BootNonce, MacAddr},
};
use hyper::Method;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The script that finds the machine's own.
    BootScript,
    /// A machine's own script.
    MachineScript(MacAddr),
    /// A loader, for firmware that boots over HTTP, by its path among the loaders.
    Loader(String),
    /// A file of the asset store, with its path as it came.
    Asset(String),
    /// Is the service there?
    Health,
    /// A path of a machine with something in the place of its address.
    NoSuchMac(String),
    /// Nothing.
    NotFound,
    /// Anything but GET and HEAD.
    MethodNotAllowed,
}

/// Decides what is asked for.
pub fn route(method: &Method, path: &str) -> Route {
    if method != Method::GET && method != Method::HEAD {
        return Route::MethodNotAllowed;
    }
    // Assets keep their encoding until they are looked for.
    if let Some(asset) = path
        .trim_start_matches('/')
        .strip_prefix("assets/")
        .map(|asset| asset.trim_start_matches('/'))
        .filter(|asset| !asset.is_empty())
    {
        return Route::Asset(format!("/{asset}"));
    }
    let Some(path) = decode(path) else { return Route::NotFound };
    // Firmware and loaders join a base that ends in a slash and a path that begins with one.
    let path = format!("/{}", path.trim_start_matches('/'));
    let machine = |text: &str| text.parse().map_or_else(|_| Route::NoSuchMac(text.to_owned()), Route::MachineScript);
    match path.as_str() {
        // Cafés that come from CloudCyberCafe keep their loaders, which ask the old paths.
        "/boot.ipxe" | "/ipxe/boot.ipxe" => Route::BootScript,
        "/healthz" => Route::Health,
        // An iPXE asks for it at the root when it is not beside its own file.
        "/autoexec.ipxe" => Route::Loader(AUTOEXEC.to_owned()),
        path => {
            let between = |prefix: &str, suffix: &str| {
                path.strip_prefix(prefix)?.strip_suffix(suffix).filter(|name| !name.is_empty() && !name.contains('/'))
            };
            let new = between("/machines/", "/boot.ipxe");
            let loader = path.strip_prefix("/loaders/").filter(|name| !name.is_empty());
            match (new.or_else(|| between("/ipxe/cfg/mac-", ".ipxe.cfg")), loader) {
                (Some(mac), _) => machine(mac),
                (None, Some(loader)) => Route::Loader(loader.to_owned()),
                (None, None) => Route::NotFound,
            }
        }
    }
}

/// What the query of a machine's script says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootQuery {
    /// Which boot it is for.
    pub boot: Option<BootNonce>,
    /// The UUID of the machine's firmware, where it says one.
    pub uuid: Option<ClientUuid>,
}

/// Reads the query of a machine's script; of two values the first counts, and what does not read is none.
pub fn boot_query(query: &str) -> BootQuery {
    let value = |key: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    BootQuery { boot: value("boot").and_then(|boot| boot.parse().ok()), uuid: value("uuid").and_then(|uuid| uuid.parse().ok()) }
}

/// A path with its `%xx` read; `None` where they do not read, or hide a control character.
pub(super) fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok().filter(|path| !path.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_a_booting_machine_is_known() {
        let mac: MacAddr = "88:ae:dd:05:08:fa".parse().expect("an address");
        for (path, expected) in [
            ("/boot.ipxe", Route::BootScript),
            ("/ipxe/boot.ipxe", Route::BootScript),
            ("//boot.ipxe", Route::BootScript),
            ("///machines/88aedd0508fa/boot.ipxe", Route::MachineScript(mac)),
            ("//loaders/ipxe.efi", Route::Loader("ipxe.efi".into())),
            ("//assets/rescue/vmlinuz", Route::Asset("/rescue/vmlinuz".into())),
            ("/healthz", Route::Health),
            ("/machines/88aedd0508fa/boot.ipxe", Route::MachineScript(mac)),
            ("/machines/88:AE:DD:05:08:FA/boot.ipxe", Route::MachineScript(mac)),
            ("/machines/88%3aae%3Add%3A05%3A08%3Afa/boot.ipxe", Route::MachineScript(mac)),
            ("/machines/01-88-ae-dd-05-08-fa/boot.ipxe", Route::MachineScript(mac)),
            ("/ipxe/cfg/mac-88aedd0508fa.ipxe.cfg", Route::MachineScript(mac)),
            ("/machines/pc01/boot.ipxe", Route::NoSuchMac("pc01".into())),
            ("/loaders/ipxe.efi", Route::Loader("ipxe.efi".into())),
            ("/loaders/x86_64-sb/ipxe-shim.efi", Route::Loader("x86_64-sb/ipxe-shim.efi".into())),
            ("/autoexec.ipxe", Route::Loader("autoexec.ipxe".into())),
            ("/assets/rescue/vmlinuz", Route::Asset("/rescue/vmlinuz".into())),
            ("/assets//rescue/vmlinuz", Route::Asset("/rescue/vmlinuz".into())),
            ("/assets/..%2f..%2fetc/passwd", Route::Asset("/..%2f..%2fetc/passwd".into())),
        ] {
            assert_eq!(route(&Method::GET, path), expected, "{path}");
            assert_eq!(route(&Method::HEAD, path), expected, "{path}");
        }
    }

    #[test]
    fn a_query_names_a_boot_and_a_machine_or_neither() {
        let uuid = "4C4C4544-0042-4a10-8051-b3c04f564432";
        let whole = boot_query(&format!("boot=00000000000000ab&uuid={uuid}"));
        assert_eq!(whole.boot, Some(BootNonce::from_octets([0, 0, 0, 0, 0, 0, 0, 0xab])));
        assert_eq!(whole.uuid.map(|uuid| uuid.to_string()), Some(uuid.to_ascii_lowercase()));
        let without = boot_query("x&boot=00000000000000ab&uuid=");
        assert_eq!((without.boot, without.uuid), (whole.boot, None));
        assert_eq!(boot_query("boot=zz&boot=00000000000000ab"), BootQuery::default(), "the first counts");
        for none in ["", "boot", "boot=", "boot=AB", "&&=&", "uuid=${uuid}", "boot=00000000000000ab0"] {
            assert_eq!(boot_query(none), BootQuery::default(), "{none}");
        }
    }

    #[test]
    fn everything_else_is_nothing() {
        for path in [
            "",
            "/",
            "/assets",
            "/assets/",
            "/loaders/",
            "/machines//boot.ipxe",
            "/machines/a/b/boot.ipxe",
            "/%",
            "/%zz",
            "/boot.ipxe%00",
            "/boot.ipxe/",
        ] {
            assert_eq!(route(&Method::GET, path), Route::NotFound, "{path}");
        }
        assert_eq!(route(&Method::POST, "/boot.ipxe"), Route::MethodNotAllowed);
    }
}
