//! The socket on which `serve` asks for disks.
//!
//! **Invariant:** only root and the user whom the serving half runs as are answered; each connection is one bounded line each way,
//! with a deadline, and more connections than can be answered at once are refused.
#![expect(clippy::disallowed_methods, reason = "effect room: a socket and its threads")]

use super::assign::Assigner;
use crate::boot::assignment::{LONGEST, Request, SOCKET};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::Path,
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

/// Listens for as long as the process lives; `run` is the run directory, `served` belongs to the serving half's user.
pub fn listen(run: &Path, served: &Path, assigner: Arc<Assigner>) -> io::Result<()> {
    fs::create_dir_all(run)?;
    let path = run.join(SOCKET);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    // Whoever asks is told by the kernel who it is; the file's mode only spares strangers the try.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    let served = served.to_owned();
    thread::spawn(move || accept(&listener, &served, &assigner));
    Ok(())
}

fn accept(listener: &UnixListener, served: &Path, assigner: &Arc<Assigner>) {
    let running = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // No descriptor is left; waiting is all that helps.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if running.fetch_add(1, Ordering::AcqRel) >= MOST || !is_welcome(&stream, served) {
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
    let own = nix::unistd::geteuid().as_raw();
    let serving = fs::metadata(served).map(|metadata| metadata.uid()).ok();
    peer.uid() == 0 || peer.uid() == own || Some(peer.uid()) == serving
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
