//! Reads what nft(8) or iptables(8) list, as far as the ports of this house are concerned.
//!
//! **Invariant:** a hint, never a proof: rules that match on more than a port are taken as they name it.

use std::collections::BTreeSet;

/// The rules for what comes in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Firewall {
    /// Chains that drop what no rule accepts.
    pub closed: BTreeSet<String>,
    /// Ports that some rule accepts.
    pub accepted: BTreeSet<u16>,
    /// Ports that some rule drops or rejects.
    pub dropped: BTreeSet<u16>,
}

/// Reads `nft list ruleset`.
pub(super) fn parse_nft(text: &str) -> Firewall {
    let mut firewall = Firewall::default();
    let (mut table, mut chain, mut is_input) = (String::new(), String::new(), false);
    for line in text.lines().map(str::trim) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("table") => table = words.take(2).filter(|word| *word != "{").collect::<Vec<_>>().join(" "),
            Some("chain") => (chain, is_input) = (words.next().unwrap_or_default().to_owned(), false),
            Some("type") if line.contains("hook input") => {
                is_input = true;
                if line.contains("policy drop") {
                    firewall.closed.insert(format!("{table} {chain}"));
                }
            }
            // A chain that the input chain jumps to has no hook of its own, so every chain's rules count but the other hooks'.
            Some("type") => is_input = false,
            _ if line.contains("dport") => read_rule(line, after(line, "dport"), &mut firewall),
            Some("drop" | "reject") if is_input => drop(firewall.closed.insert(format!("{table} {chain}"))),
            _ => {}
        }
    }
    firewall
}

/// Reads `iptables -S INPUT`.
pub(super) fn parse_iptables(text: &str) -> Firewall {
    let mut firewall = Firewall::default();
    for line in text.lines().map(str::trim) {
        match line {
            "-P INPUT DROP" | "-A INPUT -j DROP" => drop(firewall.closed.insert("INPUT".to_owned())),
            _ if line.starts_with("-A INPUT -j REJECT") => drop(firewall.closed.insert("INPUT".to_owned())),
            _ if line.contains("--dport") => read_rule(
                &line.replace("-j ", "").to_lowercase(),
                after(line, "--dports").or(after(line, "--dport")),
                &mut firewall,
            ),
            _ => {}
        }
    }
    firewall
}

fn after<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.split_once(&format!("{word} ")).map(|(_, rest)| rest)
}

fn read_rule(line: &str, rest: Option<&str>, firewall: &mut Firewall) {
    let ports = rest.map(ports).unwrap_or_default();
    let says = |verdict: &str| line.split_whitespace().any(|word| word == verdict);
    if says("accept") {
        firewall.accepted.extend(ports);
    } else if says("drop") || says("reject") {
        firewall.dropped.extend(ports);
    }
}

/// `69`, `{ 67, 69, 4011 }`, `67:69`, `67-69` and a few names.
fn ports(rest: &str) -> BTreeSet<u16> {
    let list = match rest.strip_prefix('{') {
        Some(set) => set.split('}').next().unwrap_or_default(),
        None => rest.split_whitespace().next().unwrap_or_default(),
    };
    let number = |text: &str| match text.trim() {
        "bootps" => Some(67),
        "tftp" => Some(69),
        "iscsi-target" => Some(3260),
        "http" => Some(80),
        "http-alt" => Some(8080),
        text => text.parse().ok(),
    };
    let mut ports = BTreeSet::new();
    for part in list.split(',') {
        match part.split_once(['-', ':']).map(|(from, to)| (number(from), number(to))) {
            Some((Some(from), Some(to))) => ports.extend(from..=to),
            _ => ports.extend(number(part)),
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nftables_and_iptables_are_read_alike() {
        let nft = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\
            \t\tct state established,related accept\n\t\tudp dport { 67, 4011 } accept\n\t\ttcp dport 8080-8081 accept\n\
            \t\tudp dport 69 drop\n\t}\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n";
        let read = parse_nft(nft);
        assert_eq!(read.closed, ["inet filter input".to_owned()].into());
        assert_eq!((read.accepted, read.dropped), ([67, 4011, 8080, 8081].into(), [69].into()));
        let iptables = "-P INPUT DROP\n-A INPUT -p udp -m multiport --dports 67,4011 -j ACCEPT\n\
            -A INPUT -p tcp -m tcp --dport 8080:8081 -j ACCEPT\n-A INPUT -p udp -m udp --dport 69 -j REJECT --reject-with x\n";
        let read = parse_iptables(iptables);
        assert_eq!(read.closed, ["INPUT".to_owned()].into());
        assert_eq!((read.accepted, read.dropped), ([67, 4011, 8080, 8081].into(), [69].into()));
        assert_eq!(parse_nft(""), Firewall::default());
        let ends_closed = "table ip x {\n chain in {\n type filter hook input priority 0; policy accept;\n drop\n }\n}\n";
        assert_eq!(parse_nft(ends_closed).closed, ["ip x in".to_owned()].into());
    }
}
