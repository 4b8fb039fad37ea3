//! Sites of many machines.

use crate::room::{Files, cafe};

/// A café of so many machines with these entries.
pub fn large(machines: usize, boot: &str) -> Files {
    let mut files = cafe(1);
    files.insert("network/lan.toml".into(), "interface = \"br0\"\nmode = \"server\"\nsubnet = \"10.0.0.0/8\"\n".into());
    let site = files["site.toml"].replace("192.168.77.1", "10.0.0.1");
    files.insert("site.toml".into(), site);
    files.remove("machines/row.toml");
    for file in 0..machines.div_ceil(1000) {
        let mut text = format!("[defaults]\nboot = [{boot}]\n");
        for number in (file * 1000..machines).take(1000) {
            let [high, low] = [number >> 8, number & 255];
            text.push_str(&format!(
                "[[machine]]\nname = \"m{number:05}\"\nmac = \"52:54:00:01:{high:02x}:{low:02x}\"\nip = \"10.1.{high}.{low}\"\n"
            ));
        }
        files.insert(format!("machines/row-{file}.toml"), text);
    }
    files
}
