//! Gives away what the service does not need before it reads its first packet.
//!
//! **Invariant:** afterwards the process holds two capabilities at most, those to open low ports and packet sockets, and can get no
//! more. To be called before there are threads: capabilities are each thread's own, and threads inherit them.
//! EFFECTS: the credentials and limits of this process. Follows capabilities(7).
#![expect(clippy::disallowed_methods, reason = "effect room: makes and gives away the service's directory")]

use fs_err as fs;
use nix::unistd::{Uid, User, chown, geteuid, setgroups, setresgid, setresuid};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities, set_keep_capabilities, set_no_new_privs,
    },
};
use std::{io, os::unix::fs::MetadataExt, path::Path};

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
/// Root stays root where nobody is named and the usual user is not there, without root's powers but for its own files.
pub fn drop_privileges(state: &Path, user: Option<&str>) -> Result<(), PrivilegeError> {
    raise_descriptors();
    let user = chosen(user)?;
    let held = capabilities(None).map_err(step("read its capabilities"))?;
    let kept = held.permitted & NEEDED;
    if held.permitted.contains(CapabilitySet::SETPCAP) {
        narrow_bounds()?;
    }
    match user {
        Some(user) => become_user(state, &user)?,
        None if geteuid().is_root() => {
            tracing::warn!(
                "there is no user {USUAL_USER}: serving as root, without its powers (systemd-sysusers makes the user)"
            );
        }
        None => {}
    }
    // An older kernel without ambient capabilities has none to clear.
    clear_ambient_capability_set()
        .or_else(|error| if error == Errno::INVAL { Ok(()) } else { Err(error) })
        .map_err(step("clear its ambient capabilities"))?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(step("give its capabilities away"))?;
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

/// Gives the service's own directory, and what root wrote there before, to its user. No link is followed: the user may have
/// put one there.
fn own(directory: &Path, user: &User) -> io::Result<()> {
    match fs::create_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let owned = |path: &Path| fs::symlink_metadata(path).map(|metadata| Uid::from_raw(metadata.uid()) == user.uid);
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if fs::symlink_metadata(&path)?.is_file() && !owned(&path)? {
            nix::unistd::fchownat(
                nix::fcntl::AT_FDCWD,
                &path,
                Some(user.uid),
                Some(user.gid),
                nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
            )?;
        }
    }
    match owned(directory)? {
        true => Ok(()),
        false => Ok(chown(directory, Some(user.uid), Some(user.gid))?),
    }
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
