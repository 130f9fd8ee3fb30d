//! Counts HTTP/2 frames that cost their sender nothing, and ends connections that send too many:
//! rapid reset (CVE-2023-44487), floods of SETTINGS, PING, PRIORITY and empty DATA
//! (CVE-2019-9512, 9513, 9515, 9518), and endless CONTINUATION (CVE-2024-27316).
//!
//! The meter sits between the wire and hyper, looks at frame headers only (RFC 9113, section 4.1),
//! and changes nothing. hyper has bounds of its own for some of these; this one holds for all, and
//! is the operator's to set.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use fortress_model::Bounds;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// The counted frames of this long count together.
const WINDOW: Duration = Duration::from_secs(10);
const FRAME_HEADER: usize = 9;
const PREFACE: usize = 24;

#[derive(Debug)]
pub(super) struct Meter<I> {
    io: I,
    frames: Frames,
}

impl<I> Meter<I> {
    pub(super) fn new(io: I, bounds: &Bounds) -> Self {
        Self {
            io,
            frames: Frames::new(bounds),
        }
    }
}

/// Follows the frames of one direction.
#[derive(Debug)]
struct Frames {
    /// Bytes of the preface or of a payload still to pass.
    skip: usize,
    header: [u8; FRAME_HEADER],
    filled: usize,
    cheap: u32,
    since: Instant,
    continuations: u32,
    bound_cheap: u32,
    bound_continuations: u32,
}

impl Frames {
    fn new(bounds: &Bounds) -> Self {
        Self {
            skip: PREFACE,
            header: [0; FRAME_HEADER],
            filled: 0,
            cheap: 0,
            since: Instant::now(),
            continuations: 0,
            bound_cheap: bounds.resets,
            bound_continuations: bounds.continuations,
        }
    }

    fn see(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            while self.filled < FRAME_HEADER {
                let Some((byte, rest)) = bytes.split_first() else {
                    return Ok(());
                };
                if let Some(place) = self.header.get_mut(self.filled) {
                    *place = *byte;
                }
                self.filled += 1;
                bytes = rest;
            }
            self.filled = 0;
            self.frame()?;
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), &'static str> {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const PRIORITY: u8 = 2;
        const RST_STREAM: u8 = 3;
        const SETTINGS: u8 = 4;
        const PUSH_PROMISE: u8 = 5;
        const PING: u8 = 6;
        const GOAWAY: u8 = 7;
        const WINDOW_UPDATE: u8 = 8;
        const CONTINUATION: u8 = 9;
        const ACK: u8 = 1;
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = (usize::from(high) << 16) | (usize::from(middle) << 8) | usize::from(low);
        self.skip = length;
        match kind {
            CONTINUATION => {
                self.continuations += 1;
                if self.continuations > self.bound_continuations {
                    return Err("too many CONTINUATION frames");
                }
            }
            HEADERS => self.continuations = 0,
            // An acknowledgement answers a frame of ours.
            SETTINGS | PING if flags & ACK == 0 => return self.count(),
            PRIORITY | RST_STREAM => return self.count(),
            // An END_STREAM without data is how a body may end.
            DATA if length == 0 && flags & 1 == 0 => return self.count(),
            // A client owes one for much of what it receives, and may send it in small steps.
            // Frames of unknown kinds are ignored, and so cost their sender nothing either.
            DATA | SETTINGS | PUSH_PROMISE | PING | GOAWAY | WINDOW_UPDATE => {}
            _ => return self.count(),
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), &'static str> {
        if self.since.elapsed() > WINDOW {
            self.since = Instant::now();
            self.cheap = 0;
        }
        self.cheap += 1;
        if self.cheap > self.bound_cheap {
            Err("too many frames that carry nothing")
        } else {
            Ok(())
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Meter<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let new = buf.filled().get(before..).unwrap_or_default();
                Poll::Ready(
                    this.frames
                        .see(new)
                        .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why)),
                )
            }
            other @ (Poll::Ready(Err(_)) | Poll::Pending) => other,
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Meter<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
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
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEADER + payload, 0);
        frame
    }

    #[track_caller]
    fn check(frames: &[Vec<u8>], times: usize, expect: bool) {
        let bounds = Bounds {
            resets: 10,
            continuations: 2,
            ..Bounds::default()
        };
        for size in [1, 7, 1000] {
            let mut meter = Frames::new(&bounds);
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            (0..times).for_each(|_| {
                frames
                    .iter()
                    .for_each(|frame| bytes.extend_from_slice(frame))
            });
            let seen = bytes.chunks(size).try_for_each(|piece| meter.see(piece));
            assert_eq!(seen.is_ok(), expect, "in pieces of {size}: {seen:?}");
        }
    }

    #[test]
    fn frames_that_carry_nothing_are_bounded() {
        check(&[frame(1, 4, 20), frame(3, 0, 4)], 10, true);
        check(&[frame(1, 4, 20), frame(3, 0, 4)], 11, false);
        check(&[frame(4, 0, 6)], 11, false);
        check(&[frame(4, 1, 0)], 100, true);
        check(&[frame(6, 0, 8)], 11, false);
        check(&[frame(6, 1, 8)], 100, true);
        check(&[frame(2, 0, 5)], 11, false);
        check(&[frame(0, 0, 0)], 11, false);
        check(&[frame(0, 0, 100)], 100, true);
        check(&[frame(200, 0, 0)], 11, false);
        check(&[frame(200, 0, 0)], 10, true);
        check(
            &[frame(1, 0, 20), frame(9, 0, 20), frame(9, 4, 20)],
            50,
            true,
        );
        check(
            &[
                frame(1, 0, 20),
                frame(9, 0, 0),
                frame(9, 0, 0),
                frame(9, 4, 0),
            ],
            1,
            false,
        );
    }
}
