//! A request's body, read whole when it is first needed.
//!
//! A credential that signs the body cannot be believed before the body was looked at: then it is read
//! while the credential is judged, once, within the same bounds, and `inspect` takes it from here.
//! So no caller exists whose proof is still open.

use std::sync::Arc;

use bytes::Bytes;
use fortress_limits::budget::{Budget, Reservation};
use fortress_model::{Bounds, Decision, Denial, Reason};

use super::inspect;
use crate::request::RequestBody;

/// A body that may have been read.
#[derive(Debug)]
pub(crate) struct LateBody<'w, B> {
    wire: &'w mut B,
    whole: Option<Bytes>,
    memory: Memory,
}

/// What a body takes of the memory of all bodies.
#[derive(Debug)]
pub(super) struct Memory {
    of: Arc<Budget>,
    held: Option<Reservation>,
}

impl Memory {
    /// Takes some more.
    ///
    /// # Errors
    /// `body.memory_exhausted`, in any mode: what there is not cannot be used.
    pub(super) fn grow(&mut self, decision: &mut Decision, bytes: usize) -> Result<(), Denial> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let taken = match &mut self.held {
            Some(held) => held.grow(bytes),
            None => self.of.reserve(bytes).map(|held| self.held = Some(held)),
        };
        taken.map_err(|_| {
            let detail = format!("{} bytes are held already", self.of.used());
            decision.fail(Reason::BodyMemoryExhausted, detail)
        })
    }

    /// Keeps what a body of this length needs.
    pub(super) fn settle(&mut self, bytes: usize) {
        if let Some(held) = &mut self.held {
            held.shrink_to(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
    }
}

impl<'w, B: RequestBody> LateBody<'w, B> {
    /// Nothing of it was read.
    pub(crate) fn new(wire: &'w mut B, memory: &Arc<Budget>) -> Self {
        Self {
            wire,
            whole: None,
            memory: Memory {
                of: Arc::clone(memory),
                held: None,
            },
        }
    }

    /// What it takes of the memory of all bodies.
    pub(super) fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// The same, to be kept as long as the body.
    pub(super) fn take_memory(&mut self) -> Option<Reservation> {
        self.memory.held.take()
    }

    /// The length, where it is announced: `Some(0)` means that there is none.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.wire.announced()
    }

    /// The whole, as it came (before `Content-Encoding` is undone).
    ///
    /// # Errors
    /// `body.*`: what cannot be read cannot be judged, in any mode.
    pub(crate) async fn whole(
        &mut self,
        decision: &mut Decision,
        bounds: &Bounds,
    ) -> Result<Bytes, Denial> {
        if let Some(whole) = &self.whole {
            return Ok(whole.clone());
        }
        let whole = inspect::read(decision, bounds, self.wire, &mut self.memory).await?;
        self.whole = Some(whole.clone());
        Ok(whole)
    }
}
