//! Sends file bodies with sendfile(2) beneath hyper: the kernel takes them from its page cache.
//!
//! A body is bytes, for hyper. A piece that the kernel can send by itself is therefore promised: it stands in the stream as so
//! many bytes of one block of memory that nothing else uses, and where they come to be written, the piece is sent instead.
//! **Invariant:** promises are kept in the order they were made, each for exactly its bytes, and the block itself is never
//! written to a socket. EFFECTS: sends files.

use super::body::PIECE;
use hyper::body::Bytes;
use rustix::{fs::sendfile, io::Errno};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, IoSlice},
    os::{fd::AsFd, unix::fs::FileExt},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What stands in the stream for a promised piece.
static STAND_IN: [u8; PIECE] = [0; PIECE];
/// Read at once where the kernel cannot send by itself (some FUSE file systems).
const BY_HAND: usize = 64 << 10;

/// The promises of one connection, shared by what makes them and what keeps them.
#[derive(Debug, Clone, Default)]
pub struct Sendfile(Arc<Mutex<VecDeque<Promise>>>);

/// So many bytes of a file from one on.
#[derive(Debug)]
struct Promise {
    file: Arc<File>,
    at: u64,
    length: usize,
}

impl Sendfile {
    /// Promises a piece; what is returned stands for it in the stream.
    pub fn promise(&self, file: &Arc<File>, at: u64, length: usize) -> Bytes {
        let length = length.min(STAND_IN.len());
        self.promises().push_back(Promise { file: file.clone(), at, length });
        Bytes::from_static(&STAND_IN[..length])
    }

    /// How many of these slices come before the first promised one.
    pub fn plain(slices: &[IoSlice<'_>]) -> usize {
        let promised = |slice: &IoSlice<'_>| !slice.is_empty() && STAND_IN.as_ptr_range().contains(&slice.as_ptr());
        slices.iter().position(promised).unwrap_or(slices.len())
    }

    /// Keeps the first promise, as far as the socket takes it; how many bytes it took.
    pub fn keep(&self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        let mut promises = self.promises();
        let promise = promises.front_mut().ok_or_else(|| io::Error::other("nothing was promised here"))?;
        let wanted = promise.length.min(most);
        let mut at = promise.at;
        let sent = match sendfile(&socket, &promise.file, Some(&mut at), wanted) {
            Err(Errno::INVAL | Errno::NOSYS) => by_hand(socket, promise, wanted)?,
            sent => sent?,
        };
        if sent == 0 {
            return Err(shrank());
        }
        promise.at += sent as u64;
        promise.length -= sent;
        if promise.length == 0 {
            promises.pop_front();
        }
        Ok(sent)
    }

    fn promises(&self) -> MutexGuard<'_, VecDeque<Promise>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn by_hand(socket: impl AsFd, promise: &Promise, wanted: usize) -> io::Result<usize> {
    let mut bytes = vec![0; wanted.min(BY_HAND)];
    match promise.file.read_at(&mut bytes, promise.at)? {
        0 => Ok(0),
        read => Ok(rustix::io::write(socket, &bytes[..read])?),
    }
}

/// A file ended before its promised length: the connection must break, or the client would take the rest for whole.
pub(super) fn shrank() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file shrank while it was sent")
}
