//! The socket on which `serve` asks for disks.
//!
//! **Invariant:** only root and the user whom the serving half runs as can connect, and only they are answered; each connection is one
//! bounded line each way, with a deadline, and more connections than can be answered at once are refused.
#![expect(clippy::disallowed_methods, reason = "effect room: a socket and its threads")]

use super::assign::Assigner;
use crate::boot::assignment::{LONGEST, Request, SOCKET};
use nix::unistd::{Uid, chown, geteuid};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Connections that are answered at once.
const MOST: usize = 64;

/// How long a request may take to come, and an answer to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked at whose the socket has to be: the serving half's directory may be made, or given to its user, later.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Listens for as long as the process lives; `run` is the run directory, `served` belongs to the serving half's user.
pub fn listen(run: &Path, served: &Path, assigner: Arc<Assigner>) -> io::Result<()> {
    fs::create_dir_all(run)?;
    let path = run.join(SOCKET);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    // Strangers who could connect would fill the backlog, which they share with the serving half, though none of them is answered.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    let mut door = Door { path, served: served.to_owned(), owner: geteuid().as_raw() };
    door.give();
    thread::spawn(move || accept(&listener, &mut door, &assigner));
    Ok(())
}

/// Whose the socket's file is: whoever may write it may connect (unix(7)).
struct Door {
    path: PathBuf,
    /// The serving half's directory.
    served: PathBuf,
    owner: u32,
}

impl Door {
    /// Gives the file to the user whom the serving half's directory belongs to.
    fn give(&mut self) {
        let Some(user) = owner(&self.served).filter(|user| *user != self.owner) else { return };
        match chown(&self.path, Some(Uid::from_raw(user)), None) {
            Ok(()) => self.owner = user,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), user, %error, "the socket cannot be given to the serving half's user");
                // Said once.
                self.owner = user;
            }
        }
    }
}

/// Whose a file is; `None` while it is not there.
fn owner(path: &Path) -> Option<u32> {
    fs::metadata(path).map(|metadata| metadata.uid()).ok()
}

fn accept(listener: &UnixListener, door: &mut Door, assigner: &Arc<Assigner>) {
    let running = Arc::new(AtomicUsize::new(0));
    loop {
        let heard = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&LOOK));
        door.give();
        let stream = match (heard, listener.accept()) {
            (Ok(_) | Err(Errno::INTR), Ok((stream, _))) => stream,
            (Ok(_) | Err(Errno::INTR), Err(error)) if error.kind() == io::ErrorKind::WouldBlock => continue,
            _ => {
                // No descriptor is left; waiting is all that helps.
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        if let Err(error) = stream.set_nonblocking(false) {
            tracing::debug!(%error, "a request for a disk was not answered");
            continue;
        }
        if running.fetch_add(1, Ordering::AcqRel) >= MOST || !is_welcome(&stream, &door.served) {
            running.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let (assigner, running) = (assigner.clone(), running.clone());
        thread::spawn(move || {
            if let Err(error) = answer(stream, &assigner) {
                tracing::debug!(%error, "a request for a disk was not answered");
            }
            running.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

/// Whether the other end is root, this user, or the serving half's.
fn is_welcome(stream: &UnixStream, served: &Path) -> bool {
    let Ok(peer) = nix::sys::socket::getsockopt(stream, nix::sys::socket::sockopt::PeerCredentials) else { return false };
    peer.uid() == 0 || peer.uid() == geteuid().as_raw() || Some(peer.uid()) == owner(served)
}

/// One line, within the deadline as a whole.
fn read_line(mut stream: &UnixStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let (mut line, mut piece) = (Vec::new(), [0; 4096]);
    while !line.ends_with(b"\n") && line.len() <= LONGEST {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => break,
            read => line.extend_from_slice(&piece[..read]),
        }
    }
    Ok(line)
}

fn answer(stream: UnixStream, assigner: &Assigner) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let line = read_line(&stream)?;
    let request = Request::parse(&line).map_err(io::Error::other)?;
    let answer = assigner.answer(&request);
    (&stream).write_all(answer.render().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whom_the_serving_halfs_directory_belongs_to_may_connect_whenever_it_is_given_to_them() {
        let root = tempfile::tempdir().expect("a directory");
        let (path, served) = (root.path().join(SOCKET), root.path().join("serve"));
        let _listener = UnixListener::bind(&path).expect("it listens");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        let own = geteuid().as_raw();
        let mut door = Door { path: path.clone(), served: served.clone(), owner: own };
        door.give();
        assert_eq!(owner(&path), Some(own), "there is no serving half yet");
        fs::create_dir(&served).expect("made");
        if !geteuid().is_root() || chown(&served, Some(Uid::from_raw(64_321)), None).is_err() {
            return;
        }
        door.give();
        let metadata = fs::metadata(&path).expect("it is there");
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (64_321, 0o600));
    }
}
