//! Reads a source file piece by piece, and hashes it beside.
//!
//! **Invariant:** what is hashed is what is handed on; memory is of whole blocks at whole blocks, as O_DIRECT asks.
#![expect(clippy::disallowed_methods, reason = "effect room: a thread that hashes")]

use super::{FillError, SourceFile};
use crate::host::{BLOCK, Progress};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use sha2::{Digest, Sha256};
use std::{
    io::{self, Read},
    sync::{Arc, mpsc::sync_channel},
    thread,
};

/// How much is read, hashed and written at once.
const PIECE: usize = 1 << 20;
/// Pieces that may wait for the hash, which on old processors is slower than the disk.
const WAITING: usize = 16;
/// Reads a file to the end it had when it was opened, and hashes it in a thread beside; `each` gets every piece with its place, the last
/// one filled up with zeros to whole blocks.
pub(super) fn hash_file(
    source: &SourceFile,
    path: &str,
    progress: &mut dyn Progress,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), FillError>,
) -> Result<String, FillError> {
    let unreadable = |source| FillError::Source { path: path.to_owned(), source };
    let total = source.stamp.size.0;
    let mut file = source.file();
    // Advice; where it is not taken the page cache fills up with what nobody reads again.
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
    let (sender, receiver) = sync_channel::<Arc<Piece>>(WAITING);
    thread::scope(|scope| {
        let hasher = scope.spawn(move || {
            let mut hasher = Sha256::new();
            while let Ok(piece) = receiver.recv() {
                hasher.update(piece.content());
            }
            hasher.finalize().iter().map(|octet| format!("{octet:02x}")).collect::<String>()
        });
        let mut done = 0;
        while done < total {
            let mut piece = Piece::new((total - done).min(PIECE as u64) as usize);
            file.read_exact(piece.content_mut()).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => FillError::Changed { path: path.to_owned() },
                _ => unreadable(error),
            })?;
            let piece = Arc::new(piece);
            // Fails only where the hasher has panicked, which its join tells.
            let _ = sender.send(piece.clone());
            each(done, piece.blocks())?;
            let _ = posix_fadvise(file, done as i64, PIECE as i64, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
            done += piece.length as u64;
            progress.advance(done, total);
        }
        // What was appended meanwhile is not part of it.
        if file.read(&mut [0]).map_err(unreadable)? != 0 {
            return Err(FillError::Changed { path: path.to_owned() });
        }
        drop(sender);
        Ok(hasher.join().expect("hashing does not panic"))
    })
}

/// Memory at a multiple of [`BLOCK`], of whole blocks.
struct Piece {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Piece {
    fn new(length: usize) -> Self {
        let memory = vec![0; length.next_multiple_of(BLOCK) + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        Self { memory, start, length }
    }

    fn content(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    fn content_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }

    /// The content, and zeros to the end of its last block.
    fn blocks(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length.next_multiple_of(BLOCK)]
    }
}

/// Runs of blocks that are not zero, each with its place.
pub(super) fn data_of(piece: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let is_zero = |block: &[u8]| block == &ZEROS[..block.len()];
    let blocks: Vec<(usize, bool)> = piece.chunks(BLOCK).enumerate().map(|(at, block)| (at, is_zero(block))).collect();
    let runs: Vec<(usize, usize)> = blocks
        .chunk_by(|(_, one), (_, next)| one == next)
        .filter(|run| !run[0].1)
        .map(|run| (run[0].0 * BLOCK, run.len() * BLOCK))
        .collect();
    runs.into_iter().map(move |(at, length)| (at, &piece[at..at + length]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_with_something_in_them_are_written_and_neighbours_at_once() {
        let mut piece = vec![0; 6 * BLOCK];
        (piece[BLOCK], piece[3 * BLOCK - 1], piece[5 * BLOCK]) = (1, 1, 1);
        let runs: Vec<(usize, usize)> = data_of(&piece).map(|(at, bytes)| (at, bytes.len())).collect();
        assert_eq!(runs, [(BLOCK, 2 * BLOCK), (5 * BLOCK, BLOCK)]);
        assert_eq!(data_of(&[0; BLOCK]).count(), 0);
    }

    #[test]
    fn memory_is_of_whole_blocks_at_whole_blocks() {
        for length in [1, BLOCK - 1, BLOCK, BLOCK + 1, PIECE] {
            let mut piece = Piece::new(length);
            piece.content_mut().fill(7);
            assert_eq!(piece.blocks().as_ptr() as usize % BLOCK, 0);
            assert_eq!((piece.blocks().len() % BLOCK, piece.content().len()), (0, length));
            assert!(piece.blocks()[length..].iter().all(|byte| *byte == 0));
        }
    }
}
