//! Gives away what the service does not need before it reads its first packet.
//!
//! **Invariant:** afterwards the process holds two capabilities at most, those to open low ports and packet sockets, and can get no
//! more. To be called before there are threads: capabilities are each thread's own, and threads inherit them.
//! EFFECTS: the credentials and limits of this process. Follows capabilities(7).
#![expect(clippy::disallowed_methods, reason = "effect room: makes and gives away the service's directory")]

use fs_err as fs;
use nix::unistd::{Uid, User, geteuid, setgroups, setresgid, setresuid};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, openat},
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities, set_keep_capabilities, set_no_new_privs,
    },
};
use std::{io, os::fd::OwnedFd, path::Path};

/// What the service needs: DHCP's, TFTP's and HTTP's ports, and packet sockets to machines that have no address yet.
const NEEDED: CapabilitySet = CapabilitySet::NET_BIND_SERVICE.union(CapabilitySet::NET_RAW);
/// The user that the service becomes when it is started as root and this user exists; `barista init --systemd` has it made.
pub const USUAL_USER: &str = "barista";
/// Descriptors for every connection and an asset for each, every transfer, and the rest.
const DESCRIPTORS: u64 = 4096;

/// Why the service cannot give its privileges away.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The named user does not exist.
    #[error("there is no user {0}")]
    NoSuchUser(String),
    /// Root would go on as root, and nobody said that it may.
    #[error("there is no user {USUAL_USER} to become")]
    NoUsualUser,
    /// Only root can become somebody else.
    #[error("only root can become {0}")]
    NotRoot(String),
    /// The kernel refused a step.
    #[error("cannot {step}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn step<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> PrivilegeError {
    move |source| PrivilegeError::Step { step, source: source.into() }
}

/// Becomes the user, or the usual one, and keeps what the service needs of the capabilities it has.
///
/// Root stays root only where `user` names root: without root's powers, but for its own files.
pub fn drop_privileges(state: &Path, user: Option<&str>) -> Result<(), PrivilegeError> {
    raise_descriptors();
    let user = chosen(user)?;
    let held = capabilities(None).map_err(step("read its capabilities"))?;
    let kept = held.permitted & NEEDED;
    if held.permitted.contains(CapabilitySet::SETPCAP) {
        narrow_bounds()?;
    }
    match &user {
        Some(user) => become_user(state, user)?,
        None if geteuid().is_root() => tracing::warn!("serving as root, without its powers but for its own files"),
        None => {}
    }
    // An older kernel without ambient capabilities has none to clear.
    clear_ambient_capability_set()
        .or_else(|error| if error == Errno::INVAL { Ok(()) } else { Err(error) })
        .map_err(step("clear its ambient capabilities"))?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    // systemd gives them exactly, and its filter of system calls then lets nobody change them. What is inheritable gives a program
    // nothing by itself, and none is started (capabilities(7), "Transformation of capabilities during execve()").
    if (held.effective, held.permitted) != (kept, kept) || user.is_some() {
        set_capabilities(None, sets).map_err(step("give its capabilities away"))?;
    }
    set_no_new_privs(true).map_err(step("forgo new privileges"))
}

/// Whom to become; nobody where the process is not root, or the usual user is not there.
fn chosen(user: Option<&str>) -> Result<Option<User>, PrivilegeError> {
    let name = user.unwrap_or(USUAL_USER);
    let found = User::from_name(name).map_err(step("look its user up"))?;
    match (found, user) {
        (Some(found), _) if geteuid() == found.uid => Ok(None),
        (Some(_), Some(name)) if !geteuid().is_root() => Err(PrivilegeError::NotRoot(name.to_owned())),
        (Some(found), _) if geteuid().is_root() => Ok(Some(found)),
        (None, Some(name)) => Err(PrivilegeError::NoSuchUser(name.to_owned())),
        (None, None) if geteuid().is_root() => Err(PrivilegeError::NoUsualUser),
        _ => Ok(None),
    }
}

fn narrow_bounds() -> Result<(), PrivilegeError> {
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if NEEDED.contains(one) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // The kernel's last one is behind us.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(step("narrow its capabilities")(error)),
        }
    }
    Ok(())
}

fn become_user(state: &Path, user: &User) -> Result<(), PrivilegeError> {
    own(&state.join("serve"), user).map_err(step("give its directory to its user"))?;
    set_keep_capabilities(true).map_err(step("keep its capabilities"))?;
    setgroups(&[user.gid]).map_err(step("leave root's groups"))?;
    setresgid(user.gid, user.gid, user.gid).map_err(step("change its group"))?;
    setresuid(user.uid, user.uid, user.uid).map_err(step("change its user"))?;
    tracing::info!(user = user.name, "serving without root");
    Ok(())
}

/// Gives the service's own directory, and what root wrote there before, to its user. The directory may be the user's already, who
/// may exchange anything in it meanwhile: so each file is opened without following a link, and the very file that was looked at is
/// given, only if root or the directory's owner made it and no other name leads to it. A hard link to another file stays what it is.
fn own(directory: &Path, user: &User) -> io::Result<()> {
    match fs::create_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let name = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let at = openat(CWD, directory, name | OFlags::DIRECTORY, Mode::empty())?;
    let owner = fstat(&at)?.st_uid;
    for entry in fs::read_dir(directory)? {
        // What is gone by now needs no owner.
        let Ok(file) = openat(&at, entry?.file_name(), name, Mode::empty()) else { continue };
        let stat = fstat(&file)?;
        let is_plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink == 1;
        if is_plain && [owner, geteuid().as_raw()].contains(&stat.st_uid) && stat.st_uid != user.uid.as_raw() {
            give(&file, user)?;
        }
    }
    match Uid::from_raw(owner) == user.uid {
        true => Ok(()),
        false => give(&at, user),
    }
}

/// Gives an open file to a user.
fn give(file: &OwnedFd, user: &User) -> io::Result<()> {
    let flags = nix::fcntl::AtFlags::AT_EMPTY_PATH;
    Ok(nix::unistd::fchownat(file, "", Some(user.uid), Some(user.gid), flags)?)
}

/// systemd and shells start with 1,024 so that old programs do not break, and expect this of those that need more.
fn raise_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    if current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
    {
        tracing::debug!(%error, "the limit of descriptors stays");
    }
}
