//! What a client says first, copied on its way to TLS, for its fingerprint.
//!
//! TLS reads from the socket as if nobody listened: nothing is waited for, kept back or changed.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client_hello::{ClientHello, LONGEST, Progress};

/// Tries to read the ClientHello; nobody needs so many pieces who does not want to cost us time.
const TRIES: u32 = 64;

/// A socket whose first bytes are looked at.
#[derive(Debug)]
pub(super) struct Overheard<I> {
    io: I,
    heard: Heard,
}

#[derive(Debug)]
enum Heard {
    Part {
        bytes: Vec<u8>,
        needs: usize,
        tries: u32,
    },
    /// `None` where it was no ClientHello.
    All(Option<Arc<str>>),
}

impl<I> Overheard<I> {
    pub(super) fn new(io: I) -> Self {
        Self {
            io,
            heard: Heard::Part {
                bytes: Vec::new(),
                needs: 1,
                tries: 0,
            },
        }
    }

    /// The client's fingerprint (JA4), once its ClientHello has come.
    pub(super) fn ja4(&self) -> Option<Arc<str>> {
        match &self.heard {
            Heard::Part { .. } => None,
            Heard::All(fingerprint) => fingerprint.clone(),
        }
    }

    fn hear(&mut self, piece: &[u8]) {
        let Heard::Part {
            bytes,
            needs,
            tries,
        } = &mut self.heard
        else {
            return;
        };
        bytes.extend_from_slice(piece);
        if bytes.len() < *needs {
            return;
        }
        *tries += 1;
        let read = ClientHello::read(bytes);
        let fingerprint = match read {
            Ok(Progress::Needs(more)) if *tries < TRIES && bytes.len() <= 2 * LONGEST => {
                *needs = more;
                return;
            }
            Ok(Progress::Whole(hello)) => Some(hello.ja4().as_str().into()),
            Ok(Progress::Needs(_)) | Err(_) => None,
        };
        self.heard = Heard::All(fingerprint);
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Overheard<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        if matches!(this.heard, Heard::Part { .. }) {
            this.hear(buf.filled().get(before..).unwrap_or_default());
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Overheard<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
