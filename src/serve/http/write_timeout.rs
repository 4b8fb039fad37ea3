//! A connection whose client must take what is sent to it, and to which the kernel sends files by itself.
//!
//! **Invariant:** while bytes wait to be sent, some leave within the deadline or the connection ends. The kernel calls a socket
//! writable only when a third of its buffer is free, so a client that takes a byte at a time does not pass for a reader.
//! EFFECTS: a socket and the clock.
#![expect(clippy::disallowed_methods, reason = "effect room: HTTP connections and their clock")]

use super::{connections::Activity, sendfile::Sendfile};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

/// A client may take this long to free a third of the socket's buffer.
const STALLED: Duration = Duration::from_secs(20);

/// A connection with a deadline for its client to read, and a note of when something moved.
#[derive(Debug)]
pub struct Watched {
    stream: TokioIo<TcpStream>,
    /// Set while bytes wait.
    deadline: Option<Pin<Box<Sleep>>>,
    activity: Activity,
    epoch: Instant,
    sendfile: Sendfile,
}

impl Watched {
    /// Watches a stream; times are told since the epoch.
    pub fn new(stream: TcpStream, activity: Activity, epoch: Instant, sendfile: Sendfile) -> Self {
        Self { stream: TokioIo::new(stream), deadline: None, activity, epoch, sendfile }
    }

    /// Sends what was promised, as soon as the socket takes anything.
    fn poll_promised(&self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let stream = self.stream.inner();
        loop {
            ready!(stream.poll_write_ready(context))?;
            match stream.try_io(Interest::WRITABLE, || self.sendfile.keep(stream, most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    fn moved<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            self.activity.touch(self.epoch.elapsed());
            return written;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + STALLED)));
        match deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Read for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match Sendfile::plain(slices) {
            0 if !slices.is_empty() => self.poll_promised(context, slices[0].len()),
            plain => Pin::new(&mut self.stream).poll_write_vectored(context, &slices[..plain]),
        };
        self.moved(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
