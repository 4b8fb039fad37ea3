//! Command lines of LVM's tools, as far as barista uses them.
//!
//! **Invariant:** an option that is not known here is refused like one that LVM does not know: with status 3.

use super::lvm::Refusal;

/// Options that take a value, with their long forms; the rest of the known ones take none.
const WITH_VALUE: [(&str, &str); 18] = [
    ("-n", "--name"),
    ("-L", "--size"),
    ("-l", "--extents"),
    ("-V", "--virtualsize"),
    ("-c", "--chunksize"),
    ("-Z", "--zero"),
    ("-k", "--setactivationskip"),
    ("-p", "--permission"),
    ("-a", "--activate"),
    ("-o", "--options"),
    ("-S", "--select"),
    ("--type", "--type"),
    ("--addtag", "--addtag"),
    ("--deltag", "--deltag"),
    ("--thinpool", "--thinpool"),
    ("--discards", "--discards"),
    ("--poolmetadatasize", "--poolmetadatasize"),
    ("--errorwhenfull", "--errorwhenfull"),
];
const MORE_WITH_VALUE: [&str; 3] = ["--units", "--reportformat", "--config"];
const FLAGS: [&str; 15] = [
    "-s",
    "--snapshot",
    "-T",
    "--thin",
    "-y",
    "--yes",
    "-f",
    "--force",
    "-K",
    "--ignoreactivationskip",
    "--noudevsync",
    "--nosuffix",
    "--binary",
    "--noheadings",
    "-q",
];

/// A command line taken apart.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    options: Vec<(String, String)>,
    /// Volume groups and volumes.
    pub(super) operands: Vec<String>,
}

impl Arguments {
    pub(super) fn parse(words: &[String]) -> Result<Self, Refusal> {
        let mut parsed = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                parsed.operands.push(word.clone());
                continue;
            }
            parsed.option(word, &mut words)?;
        }
        Ok(parsed)
    }

    fn option(&mut self, word: &str, words: &mut std::slice::Iter<'_, String>) -> Result<(), Refusal> {
        let unknown = || (3, format!("unrecognized option '{word}'\n  Error during parsing of command line."));
        if let Some((long, value)) = word.split_once('=').filter(|_| word.starts_with("--")) {
            self.options.push((canonical(long).ok_or_else(unknown)?, value.to_owned()));
        } else if let Some(long) = canonical(word) {
            let value = words.next().ok_or_else(unknown)?;
            self.options.push((long, value.clone()));
        } else if FLAGS.contains(&word) {
            self.options.push((word.to_owned(), String::new()));
        } else if let Some((long, value)) = word.split_at_checked(2).and_then(|(short, value)| Some((canonical(short)?, value))) {
            self.options.push((long, value.to_owned()));
        } else if word.len() > 2 && !word.starts_with("--") && word[1..].chars().all(|c| FLAGS.contains(&&*format!("-{c}"))) {
            self.options.extend(word[1..].chars().map(|c| (format!("-{c}"), String::new())));
        } else if let Some((flag, rest)) = word.split_at_checked(2).filter(|(flag, _)| FLAGS.contains(flag)) {
            // `-kn` after a flag in one word: `-sn name` is not used by anybody, so only flags may lead.
            self.options.push((flag.to_owned(), String::new()));
            self.option(&format!("-{rest}"), words)?;
        } else {
            return Err(unknown());
        }
        Ok(())
    }

    pub(super) fn has(&self, names: [&str; 2]) -> bool {
        self.options.iter().any(|(name, _)| names.contains(&name.as_str()))
    }

    /// The last value of an option, by its long form.
    pub(super) fn value(&self, long: &str) -> Option<&str> {
        self.options.iter().rev().find(|(name, _)| name == long).map(|(_, value)| value.as_str())
    }

    /// All values of an option, by its long form.
    pub(super) fn values<'a>(&'a self, long: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(name, _)| name == long).map(|(_, value)| value.as_str())
    }
}

/// The long form of an option that takes a value.
fn canonical(word: &str) -> Option<String> {
    let known = WITH_VALUE.iter().find(|(short, long)| word == *short || word == *long).map(|(_, long)| *long);
    known.or_else(|| MORE_WITH_VALUE.iter().copied().find(|long| *long == word)).map(str::to_owned)
}

/// A size: a number with `b`, `k`, `m`, `g` or `t` (binary), mebibytes without; bytes must be whole sectors.
pub(super) fn parse_size(text: &str) -> Result<u64, Refusal> {
    let refuse = |why: &str| (3, format!("{why}\n  Invalid argument: {text}\n  Error during parsing of command line."));
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refuse("no number"))?;
    let factor = match unit {
        "b" | "B" if !number.is_multiple_of(512) => return Err(refuse("Size is not a multiple of 512.")),
        "b" | "B" => 1,
        "k" | "K" | "KiB" => 1 << 10,
        "" | "m" | "M" | "MiB" => 1 << 20,
        "g" | "G" | "GiB" => 1 << 30,
        "t" | "T" | "TiB" => 1_u64 << 40,
        _ => return Err(refuse("no unit")),
    };
    number.checked_mul(factor).ok_or_else(|| refuse("too large"))
}

/// Refuses a tag that LVM refuses.
pub(super) fn check_tag(tag: &str) -> Result<(), Refusal> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_+.-/=!:#&".contains(&b);
    if !tag.is_empty() && tag.bytes().all(legal) {
        Ok(())
    } else {
        Err((3, format!("Invalid argument for --addtag: {tag}\n  Error during parsing of command line.")))
    }
}
