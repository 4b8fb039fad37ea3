//! A pushed file: whatever it holds, the site is checked to its end, and what passes has a boot table or findings. A template too: what it
//! renders for every machine is bounded by steps and bytes.
#![no_main]

use barista::site::{Entry, Tree, load};
use libfuzzer_sys::fuzz_target;
use std::{path::Path, sync::LazyLock};

const FILES: [&str; 6] = [
    "site.toml",
    "network/lan.toml",
    "images/win11.toml",
    "machines/row-a.toml",
    "templates/machine.ipxe",
    "templates/unknown.ipxe",
];

static EXAMPLE: LazyLock<Tree> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../site-example");
    barista::deploy::directory::read(&root).expect("the example is there")
});

fuzz_target!(|input: &[u8]| {
    let [which, text @ ..] = input else { return };
    let mut tree = EXAMPLE.clone();
    tree.entries.insert(FILES[usize::from(*which) % FILES.len()].to_owned(), Entry::File(text.to_vec()));
    let checked = load(&tree);
    if let Some(site) = checked.site
        && let Ok(prepared) = barista::plan::prepare(&site)
    {
        drop(prepared);
    }
});
