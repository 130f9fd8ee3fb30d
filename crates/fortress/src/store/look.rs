//! Whether the store that a configuration names would open, asked before anything depends on it: by
//! `fortress check`, and before a reload. Changes nothing.

use std::sync::Arc;

use fortress_model::{Diagnostic, config::StoreSettings};
use fortress_store::{SealError, StoreError};

/// What keeps it from being opened, at its place in the configuration.
pub(crate) fn faults(settings: &StoreSettings) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let unsealed = |error: SealError, span| Diagnostic::error(span, error.to_string());
    let keys = match fortress_store::master_keys(&settings.key.value) {
        Ok(keys) => Some(keys),
        Err(error) => {
            found.push(unsealed(error, settings.key.span));
            None
        }
    };
    if let Some(warning) = keys.as_ref().and_then(|keys| keys.warning()) {
        found.push(Diagnostic::warning(settings.key.span, warning));
    }
    let pepper = match fortress_store::pepper(&settings.pepper.value) {
        Ok(pepper) => Some(pepper),
        Err(error) => {
            found.push(unsealed(error, settings.pepper.span));
            None
        }
    };
    let (Some(keys), Some(pepper)) = (keys, pepper) else {
        return found;
    };
    // A thread of its own: a client of a database may not block a runtime's thread.
    let looked = std::thread::scope(|scope| {
        let look =
            scope.spawn(|| fortress_store::look(&settings.place.value, Arc::new(keys), &pepper));
        look.join()
    });
    match looked {
        Ok(Ok(())) => {}
        Ok(Err(error)) => found.push(fault(settings, &error)),
        Err(_) => found.push(Diagnostic::error(
            settings.place.span,
            "looking at the store failed".to_owned(),
        )),
    }
    found
}

fn fault(settings: &StoreSettings, error: &StoreError) -> Diagnostic {
    let message = error.to_string();
    if matches!(error, StoreError::Seal(_)) {
        Diagnostic::error(settings.key.span, message)
    } else if matches!(error, StoreError::WrongPepper) {
        Diagnostic::error(settings.pepper.span, message)
    } else if matches!(error, StoreError::Busy | StoreError::Unreachable(_)) {
        // It may be there tomorrow, or be out of reach of where the configuration is checked alone.
        Diagnostic::warning(settings.place.span, message)
    } else {
        Diagnostic::error(settings.place.span, message)
    }
}
