//! A request's body, read whole when it is first needed.
//!
//! A credential that signs the body cannot be believed before the body was looked at: then it is read
//! while the credential is judged, once, within the same bounds, and `inspect` takes it from here.
//! So no caller exists whose proof is still open.

use bytes::Bytes;
use fortress_model::{Bounds, Decision, Denial};

use super::inspect;
use crate::request::RequestBody;

/// A body that may have been read.
#[derive(Debug)]
pub(crate) struct LateBody<'w, B> {
    wire: &'w mut B,
    whole: Option<Bytes>,
}

impl<'w, B: RequestBody> LateBody<'w, B> {
    /// Nothing of it was read.
    pub(crate) fn new(wire: &'w mut B) -> Self {
        Self { wire, whole: None }
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
        let whole = inspect::read(decision, bounds, self.wire).await?;
        self.whole = Some(whole.clone());
        Ok(whole)
    }
}
