//! The CHAP secrets that `serve` hands out, and where they go in a script.
//!
//! **Invariant:** a script that is published, compared or shown holds [`MARKER`] and no secret; a secret goes only to the
//! address that is reserved for its machine. Over HTTP that keeps machines from each other's disks by mistake, not against
//! somebody who listens on the wire.

use super::table::BootMachine;
use crate::names::{Credentials, MachineName};
use std::{collections::BTreeMap, net::IpAddr};

/// Where the secrets lie under the state directory, readable by root and `serve` alone.
pub const PATH: &str = "boot/chap.json";

/// The line that gives way to name and secret; left standing it is a comment to iPXE.
pub const MARKER: &str = "# the name and the secret for CHAP go here";

/// Secrets by machine.
pub type Secrets = BTreeMap<MachineName, Credentials>;

/// The published document; stable to the byte for the same secrets.
pub fn render(secrets: &Secrets) -> String {
    let entry = |credentials: &Credentials| [credentials.user().to_owned(), credentials.secret.expose().to_owned()];
    let plain: BTreeMap<&str, [String; 2]> = secrets.iter().map(|(name, both)| (name.as_str(), entry(both))).collect();
    let mut text = serde_json::to_string(&plain).expect("a map of strings always serialises");
    text.push('\n');
    text
}

/// Reads the published document; the error says nothing of what is in it.
pub fn parse(text: &str) -> Result<Secrets, &'static str> {
    let plain: BTreeMap<String, [String; 2]> = serde_json::from_str(text).map_err(|_| "it does not read as a map of pairs")?;
    let entry = |(name, [user, secret]): (String, [String; 2])| {
        let name = name.parse().map_err(|_| "it names something that is no machine")?;
        Ok((name, Credentials::parse(&user, &secret).map_err(|_| "it holds a name or a secret that is not legal")?))
    };
    plain.into_iter().map(entry).collect()
}

/// A script of a machine as this peer gets it.
pub fn script_for(name: &MachineName, machine: &BootMachine, script: String, secrets: &Secrets, peer: IpAddr) -> String {
    let own = machine.ip.is_some_and(|ip| peer.to_canonical() == IpAddr::V4(ip));
    match secrets.get(name).filter(|_| own) {
        Some(both) => {
            let lines = format!("set username {}\nset password {}", both.user(), both.secret.expose());
            script.replace(MARKER, &lines)
        }
        None => script,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_goes_to_its_own_machine_alone() {
        let name: MachineName = "pc01".parse().expect("legal");
        let secrets: Secrets = [(name.clone(), Credentials::parse("pc01", "123456789012").expect("legal"))].into();
        assert_eq!(parse(&render(&secrets)), Ok(secrets.clone()));
        let script = format!("#!ipxe\n{MARKER}\nshell\n");
        let machine = BootMachine {
            macs: Vec::new(),
            ip: Some([192, 0, 2, 7].into()),
            firmware: None,
            default: "a".into(),
            script,
            disks: Default::default(),
            loader: None,
            pxe: None,
            options: Default::default(),
        };
        let told = |machine: &BootMachine, secrets: &Secrets, peer: &str| {
            script_for(&name, machine, machine.script.clone(), secrets, peer.parse().expect("an address"))
        };
        let by = |peer: &str| told(&machine, &secrets, peer);
        assert_eq!(by("192.0.2.7"), "#!ipxe\nset username pc01\nset password 123456789012\nshell\n");
        assert_eq!(by("::ffff:192.0.2.7"), by("192.0.2.7"));
        assert_eq!(by("192.0.2.8"), machine.script);
        let nowhere = BootMachine { ip: None, ..machine.clone() };
        assert_eq!(told(&nowhere, &secrets, "192.0.2.7"), machine.script);
        let other: Secrets = secrets.clone().into_values().map(|both| ("pc02".parse().expect("legal"), both)).collect();
        assert_eq!(told(&machine, &other, "192.0.2.7"), machine.script);
    }
}
