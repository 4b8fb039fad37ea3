//! The objects of a pushed commit, in any shape that git's format allows and in some that it does not: the site's text is read from
//! them within the bounds of its reader, and checked to its end.
//!
//! The input is a list of objects, each made of the bytes after it says how many. A tree or a commit names earlier objects by their
//! place; the last commit is read, as the head of a branch would be. The repository lies in memory.
#![no_main]

use barista::deploy::{LARGEST_FILE, LONGEST_PATH, MOST_BYTES, MOST_ENTRIES, repo::Repo, select::Ancestry};
use barista::site::{Entry, load};
use git2::{ObjectType, Odb, Oid};
use libfuzzer_sys::fuzz_target;

/// What an entry of a tree may be: a file, a program, a link, a directory, a submodule, and what no git writes.
const MODES: [&str; 8] = ["100644", "100755", "120000", "40000", "160000", "100664", "0", "7777777"];

/// Names that a site has, and some that nobody should.
const NAMES: [&str; 16] = [
    "site.toml",
    "network",
    "images",
    "machines",
    "templates",
    "assets",
    "menu",
    "lan.toml",
    "win11.toml",
    "row-a.toml",
    "machine.ipxe",
    "..",
    ".git",
    "",
    "a/b",
    "row-a.toml\n",
];

/// Takes bytes off the input; nothing more comes once it is at its end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let most = usize::from(self.byte()?).min(self.0.len());
        let (bytes, rest) = self.0.split_at(most);
        self.0 = rest;
        Some(bytes)
    }
}

/// An earlier object, or one that is not there.
fn earlier(objects: &[Oid], which: u8) -> Oid {
    let count = objects.len();
    let missing = Oid::from_bytes(&[which; 20]).expect("20 bytes");
    objects.get(count.wrapping_sub(1 + usize::from(which) % (count + 1))).copied().unwrap_or(missing)
}

/// The entries of a tree, as they are or repeated many times under other names: a directory of a hundred thousand is a few bytes here,
/// and in a pack too.
fn tree(input: &mut Input<'_>, objects: &[Oid]) -> Option<Vec<u8>> {
    let mut entries = Vec::new();
    for _ in 0..input.byte()? % 24 {
        let (mode, name, which) = (input.byte()?, input.byte()?, input.byte()?);
        let own;
        let name = match NAMES.get(usize::from(name)) {
            Some(name) => name.as_bytes(),
            None => {
                own = input.bytes()?;
                own
            }
        };
        let times = if mode & 0xf8 == 0xf8 { 5_000 } else { 1 };
        for time in 0..times {
            entries.extend_from_slice(MODES[usize::from(mode) % MODES.len()].as_bytes());
            entries.push(b' ');
            entries.extend_from_slice(name);
            if times > 1 {
                entries.extend_from_slice(format!("{time:05}").as_bytes());
            }
            entries.push(0);
            entries.extend_from_slice(earlier(objects, which).as_bytes());
        }
    }
    Some(entries)
}

fn commit(input: &mut Input<'_>, objects: &[Oid], commits: &[Oid]) -> Option<Vec<u8>> {
    let which = input.byte()?;
    let mut text = format!("tree {}\n", earlier(objects, which));
    for _ in 0..input.byte()? % 4 {
        text += &format!("parent {}\n", earlier(commits, input.byte()?));
    }
    text += "author a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\n";
    Some([text.as_bytes(), input.bytes()?].concat())
}

fuzz_target!(|input: &[u8]| {
    let mut input = Input(input);
    let odb = Odb::new().expect("an empty list of objects");
    odb.add_new_mempack_backend(1).map(drop).expect("memory");
    let (mut objects, mut commits) = (Vec::new(), Vec::new());
    while let (Some(kind), true) = (input.byte(), objects.len() + commits.len() < 64) {
        let (kind, content) = match kind % 8 {
            0 => (ObjectType::Commit, commit(&mut input, &objects, &commits)),
            1..=3 => (ObjectType::Tree, tree(&mut input, &objects)),
            4 => (ObjectType::Blob, input.byte().map(|size| vec![b'#'; usize::from(size) << 14])),
            // As whoever writes objects himself may have it.
            5 => (ObjectType::Tree, input.bytes().map(<[u8]>::to_vec)),
            6 => (ObjectType::Commit, input.bytes().map(<[u8]>::to_vec)),
            _ => (ObjectType::Blob, input.bytes().map(<[u8]>::to_vec)),
        };
        let Some(content) = content else { break };
        let Ok(id) = odb.write(kind, &content) else { continue };
        if kind == ObjectType::Commit { commits.push(id) } else { objects.push(id) }
    }
    if commits.is_empty() {
        let Some(tree) = objects.last() else { return };
        let text = format!("tree {tree}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nhead\n");
        commits.extend(odb.write(ObjectType::Commit, text.as_bytes()));
    }
    let repo = Repo::of_objects(odb).expect("objects make a repository");
    let ids: Vec<_> = commits.iter().filter_map(|id| id.to_string().parse().ok()).collect();
    let (Some(head), Some(first)) = (ids.last(), ids.first()) else { return };
    if let Ok(ancestry) = repo.ancestry(head, Some(first)) {
        assert_eq!(ancestry == Ancestry::Same, head == first);
    }
    // A whole id means itself or nothing; objects in memory are not found by an abbreviated one.
    if let Ok(commit) = repo.resolve(head.as_str()) {
        assert_eq!(commit.id, *head);
    }
    for name in [&head.as_str()[..12], "main", "HEAD~1", ":/x"] {
        if let Ok(commit) = repo.resolve(name) {
            assert!(ids.contains(&commit.id), "{name}");
        }
    }
    if let Ok(tree) = repo.tree(head) {
        assert!(tree.entries.len() <= MOST_ENTRIES);
        assert!(tree.entries.keys().all(|path| path.len() <= LONGEST_PATH));
        let sizes = tree.entries.values().map(|entry| match entry {
            Entry::File(bytes) => bytes.len() as u64,
            Entry::Symlink(target) => target.len() as u64 / 3,
            Entry::TooLarge(_) | Entry::Unreadable(_) => 0,
        });
        let (mut all, mut largest) = (0, 0);
        sizes.for_each(|size| (all, largest) = (all + size, size.max(largest)));
        assert!(all <= MOST_BYTES && largest <= LARGEST_FILE, "{all} bytes, {largest} in one file");
        drop(load(&tree));
    }
});
