//! Codes as sentences for people: the one place where a reason or a hold becomes words.
//!
//! **Invariant:** says nothing that the code does not; nobody reads a decision out of these words.

use super::{Hidden, Hold, PoolProblem, Proof, Reason, Sign, SourceProblem, Subject};
use crate::observed::Stray;

/// Why a change does not go ahead, and the mend where there is one.
pub fn hold_text(hold: &Hold) -> String {
    match hold {
        Hold::Occupied { machine, sign } => match sign {
            Sign::Session { address } if address.is_empty() => format!("{machine} is in use"),
            Sign::Session { address } => format!("{machine} is in use, from {address}"),
            Sign::MayBeOn => {
                format!("{machine} may be at work: nothing proves that it is off; a person who knows says --force {machine}")
            }
            Sign::Unreadable { what } => format!("{machine} may be at work: {what}"),
        },
        Hold::NoConsent { consent } => {
            format!("loses data that is kept; to consent, add {consent:?} to may-destroy under [policy] in site.toml")
        }
        Hold::TooMuch { destroys, allowed } => format!(
            "{destroys} kept disks and versions would lose their data, and max-destroy under [policy] allows {allowed}; raise it if that is meant"
        ),
        Hold::HasClones { clone, count } => format!("{count} disks were made from it and remain, {clone} among them"),
        Hold::Pool { problem } => pool_text(problem),
        Hold::Foreign { what } => format!("{what} is there and not ours"),
        Hold::Stray { name, what } => format!("{name} bears our mark, and {what}"),
        Hold::Unreadable { what } => format!("unreadable: {what}"),
        Hold::Source { path, problem } => source_text(path, problem),
        Hold::Secret { machine, file } => format!("{file} has no [{machine}]; add it, and below it secret = \"12 to 16 bytes\""),
        Hold::OtherContent { witness, was, is } => format!(
            "{witness} was made from another version of this name (sha256 {was}, now {is}); give the new content a new version"
        ),
        Hold::LeftBehind { what, count } => format!(
            "{count} objects of this site are in {what}, where the site no longer looks; put the site back, remove them, or consent \
             to leaving them with may-destroy = [\"*\"]"
        ),
        Hold::Filling { image, version } => format!("{image}@{version} is being filled"),
        Hold::Backoff { failures: 1, error } => format!("failed with: {error}; it is tried again"),
        Hold::Backoff { failures, error } => format!("failed {failures} times, the last time with: {error}; it is tried again"),
        Hold::After { subject } => format!("waits for {}", subject_text(subject)),
        Hold::NotTargeted => "not targeted".to_owned(),
    }
}

/// The same of several machines, without what differs from one to the other.
pub fn hold_text_of_many(hold: &Hold) -> String {
    match hold {
        Hold::Occupied { sign: Sign::Session { .. }, .. } => "they are in use".to_owned(),
        Hold::Occupied { sign: Sign::MayBeOn, .. } => {
            "they may be at work: nothing proves that they are off; a person who knows says --force and the machine's name"
                .to_owned()
        }
        Hold::NoConsent { consent } => {
            let image = consent.rsplit('.').next().unwrap_or(consent);
            format!(
                "they lose data that is kept; to consent, add \"<machine>.{image}\" for each to may-destroy under [policy] in site.toml"
            )
        }
        Hold::Secret { file, .. } => {
            format!("{file} lacks them; add [name] for each machine, and below it secret = \"12 to 16 bytes\"")
        }
        other => hold_text(other),
    }
}

fn pool_text(problem: &PoolProblem) -> String {
    match problem {
        PoolProblem::NoGroup { group, hidden: Hidden::No } => {
            format!("there is no volume group {group}; make it with vgcreate --metadatasize 16m {group} <device>")
        }
        PoolProblem::NoGroup { group, hidden: Hidden::Possibly } => format!(
            "LVM shows no volume group {group}; its devices file may hide the disk: lvmdevices --adddev <device>, or vgimportdevices {group}"
        ),
        PoolProblem::NoPool { pool } => {
            format!("there is no thin pool {pool}; make it, or set create-pool = true under [storage]")
        }
        PoolProblem::NoRoom { group, free } => format!("volume group {group} has {free} free, too little for a thin pool"),
        PoolProblem::Sick { pool, state } => {
            format!("thin pool {pool} is in state {state:?}; deactivate it and run lvconvert --repair {pool}")
        }
        PoolProblem::Full { pool, data, reserve } => format!(
            "thin pool {pool} is {}.{:02} % full and the site reserves {reserve}%; remove something or lvextend it",
            data / 100,
            data % 100
        ),
        PoolProblem::MetadataFull { pool, metadata } => {
            format!("the metadata of thin pool {pool} is {metadata} % full; lvextend --poolmetadatasize +1G {pool}")
        }
        PoolProblem::WasInactive { pool } => format!("thin pool {pool} was inactive; how full it is shows once it is active"),
        PoolProblem::MetadataArea { group, free, volumes } => format!(
            "volume group {group} has {free} of metadata area free, too little for {volumes} more volumes; \
             make the group with vgcreate --metadatasize 16m or larger"
        ),
    }
}

fn source_text(path: &str, problem: &SourceProblem) -> String {
    match problem {
        SourceProblem::Absent => format!("source {path} is not in the image store"),
        SourceProblem::Unsettled => format!("source {path} is still being written; it is filled from once nobody writes to it"),
        SourceProblem::Unreadable { what } => format!("source {path} cannot be read: {what}"),
        SourceProblem::Empty => format!("source {path} holds no disk, or an empty one"),
        SourceProblem::TooLarge { disk, size } => format!("the disk in {path} measures {disk} and the image's size is {size}"),
        SourceProblem::NoRoom { takes, spare } => {
            format!("source {path} takes {takes} and the thin pool has {spare} to spare above its reserve")
        }
    }
}

/// Why a change is made.
pub fn reason_text(reason: &Reason) -> String {
    match reason {
        Reason::Wanted => "the site has it".to_owned(),
        Reason::Unwanted => "the site no longer has it".to_owned(),
        Reason::NextBoot => "for its next boot".to_owned(),
        Reason::CurrentChanged { .. } => "at its next boot (current changed)".to_owned(),
        Reason::Used { proof } => format!("it was used, and {}", proof_text(proof)),
        Reason::NeverUsed => "it was never used and is not needed any more".to_owned(),
        Reason::CutOff => "a run was cut off before it was whole".to_owned(),
        Reason::NotShown => "no target shows its disks".to_owned(),
        Reason::Differs { what } => what.clone(),
        Reason::Moved { from } => format!("the site says it moved from {from}"),
        Reason::Kept => "from now on it is kept".to_owned(),
        Reason::Grew { from, to } => format!("the image grew from {from} to {to}"),
        Reason::Inactive => "it is inactive, or would be after the next start".to_owned(),
        Reason::OldEpoch => {
            "the record of what was offered begins another epoch, as each day and after each start of the server".to_owned()
        }
        Reason::NoRecord => {
            "no record of what was offered goes with it, or an older one was put back: it begins anew, and no disk that is there counts as clean"
                .to_owned()
        }
        Reason::Pending => "LVM keeps something for it whose making was cut off".to_owned(),
        Reason::Unpublished { what } if what.is_empty() => "the site says otherwise than what is published".to_owned(),
        Reason::Unpublished { what } => what.clone(),
    }
}

fn proof_text(proof: &Proof) -> &'static str {
    match proof {
        Proof::Moved => "its machine runs from a later disk",
        Proof::BootIntent => "its machine boots again",
        Proof::PoweredOff => "its machine is off",
        Proof::Quiet => "it was silent for as long as the site says",
        Proof::Forced => "a person said that its machine is off",
    }
}

/// What a change is about, on one line.
pub fn subject_text(subject: &Subject) -> String {
    match subject {
        Subject::Kernel => "the kernel's target subsystem".to_owned(),
        Subject::Pool { name } => format!("pool {name}"),
        Subject::Version { image, version } => format!("version {image}@{version}"),
        Subject::Side { machine, image, side } => format!("seat {machine}.{image}.{side}"),
        Subject::Disk { machine, image, side } => format!("disk {machine}.{image}.{side}"),
        Subject::Debris { path } => format!("debris {path}"),
        Subject::Boot { machine } => format!("boot {machine}"),
        Subject::Table => "boot table".to_owned(),
    }
}

/// What is wrong with something that bears our mark, and the mend.
pub fn stray_text(stray: &Stray) -> String {
    match stray {
        Stray::Conflict { mark, values: [one, other] } => {
            format!("its mark {mark} says both {one:?} and {other:?}; remove the wrong one: lvchange --deltag {mark}=…")
        }
        Stray::Misnamed { should: Some(should) } => {
            format!("it bears the marks of {should} and another name; it is left alone. If it is yours, remove its barista tags")
        }
        Stray::Misnamed { should: None } => "it bears our mark and says nothing of what it is; it is left alone".to_owned(),
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&subject_text(self))
    }
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hold_text(self))
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&reason_text(self))
    }
}
