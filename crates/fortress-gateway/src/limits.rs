//! What limits count: living tables that survive a reload, and an operation's limits compiled.
//!
//! Deliberately not here: how they count (`fortress-limits`), and what a request that is refused is
//! told (`guard::limit`).

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use fortress_limits::{
    key::Secret,
    limiter::{Keys, Limit, Limiter, Limits, Now},
};
use fortress_model::{
    Diagnostic, Timestamp,
    config::{Config, LimitRule, RedisTls, SecretSource, Spanned, StoreSettings},
};
use tokio::time::Instant;

use crate::{
    compile::{Effective, roots_of},
    journal::Notes,
    kept_quotas::KeptQuotas,
    server::ServerError,
    shared_counts::{Log, SharedCounts},
};

/// The counts of all limits.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) limiter: Limiter,
    /// What instances share, where the configuration names a Redis.
    pub(crate) shared: Option<SharedCounts>,
    /// Where quotas are kept that instances do not share, and what keeps them.
    store: Option<StoreSettings>,
    kept: Mutex<Option<KeptQuotas>>,
    secret: Secret,
    /// What logins are hashed under where instances share what they know of them.
    pub(crate) logins: fortress_model::Secret<[u8; 16]>,
    began: Instant,
}

/// The secrets that the keys of limits and of logins are hashed under, and what tells them from others.
struct Under {
    secret: [u8; 16],
    logins: [u8; 16],
    fingerprint: String,
}

impl Counts {
    /// Empty tables. What outlives this process, or is shared with others, is counted under a secret
    /// that comes from the configuration; all else under one that nobody knows.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(crate) fn new(config: &Config) -> Result<Arc<Self>, String> {
        let began = Instant::now();
        let under = under(config)?;
        let redis = config.redis.as_ref();
        let shared =
            redis.map(|settings| SharedCounts::new(&settings.value, began, under.fingerprint));
        let limiter = Limiter::new(Keys::default());
        Ok(Arc::new(Self {
            limiter: match &shared {
                Some(shared) => limiter.sharing(shared.leases()),
                None => limiter,
            },
            // Redis keeps them itself.
            store: config.store.clone().filter(|_| shared.is_none()),
            shared,
            kept: Mutex::default(),
            secret: Secret::new(under.secret),
            logins: fortress_model::Secret::new(under.logins),
            began,
        }))
    }

    /// Starts what runs beside the requests; a second time it does nothing. Blocks; not within a
    /// runtime.
    ///
    /// # Errors
    /// No thread or no runtime could be made, or the store cannot be opened or read.
    pub(crate) fn start(&self, notes: Notes) -> Result<(), ServerError> {
        if let Some(shared) = &self.shared {
            shared.start(notes)?;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(settings) = self.store.as_ref().filter(|_| kept.is_none()) {
            let quotas = Arc::clone(&self.limiter.quotas);
            *kept = Some(KeptQuotas::start(settings, quotas)?);
        }
        Ok(())
    }

    /// What instances tell each other of logins, where they share anything.
    pub(crate) fn log(&self) -> Option<Arc<Log>> {
        self.shared.as_ref().map(SharedCounts::log)
    }

    /// Counts of quotas that were written to the store; `None` where none are.
    pub(crate) fn written(&self) -> Option<u64> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map(KeptQuotas::written)
    }

    /// Ends what runs beside the requests, which are over. Blocks for a moment; not within a runtime.
    pub(crate) fn stop(&self) {
        if let Some(shared) = &self.shared {
            shared.stop();
        }
        // Dropping it writes what is left.
        drop(
            self.kept
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }

    /// The time on both clocks; `wall` is the calendar's.
    pub(crate) fn now(&self, wall: Timestamp) -> Now {
        let elapsed = self.began.elapsed().as_nanos();
        Now {
            elapsed: u64::try_from(elapsed).unwrap_or(u64::MAX),
            wall,
        }
    }
}

/// The limits of an operation.
#[derive(Debug)]
pub(crate) struct LimitsPlan {
    pub(crate) counts: Arc<Counts>,
    pub(crate) limits: Limits,
    /// What `per: operation` counts by: no two APIs share one.
    pub(crate) operation: Box<str>,
}

impl LimitsPlan {
    /// `None` where no limit holds.
    pub(crate) fn compile(
        counts: impl FnOnce() -> Result<Arc<Counts>, String>,
        effective: &Effective,
        (config, api, operation): (&Config, &str, &str),
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let first = effective.limits.first()?;
        let counts = match counts() {
            Ok(counts) => counts,
            Err(why) => {
                diagnostics.push(Diagnostic::error(first.span, why));
                return None;
            }
        };
        let mut made = Vec::new();
        for rule in &effective.limits {
            if let Some(found) = of_any_identity(config, rule)
                && !diagnostics.contains(&found)
            {
                diagnostics.push(found);
            }
            if rule.value.on_fault.is_some() && counts.shared.is_none() {
                let message =
                    "`on_fault` of a limit changes nothing without a store that instances share";
                let help = "add `store: { redis: env:REDIS_URL }`, or remove it";
                let found = Diagnostic::warning(rule.span, message).help(help);
                if !diagnostics.contains(&found) {
                    diagnostics.push(found);
                }
            }
            let place = &effective.limits_place;
            let settings = (effective.mode, effective.limits_fault);
            match Limit::new(
                &qualified(config, &rule.value),
                place,
                settings,
                &counts.secret,
            ) {
                Ok(limit) => made.push(limit),
                Err(error) => {
                    let message = format!("this limit cannot be kept: {error}");
                    let found = Diagnostic::error(rule.span, message);
                    if !diagnostics.contains(&found) {
                        diagnostics.push(found);
                    }
                }
            }
        }
        let limits = Limits::new(made);
        // Those that are off are left out.
        limits.iter().next()?;
        Some(Self {
            counts,
            limits,
            operation: format!("{api} {operation}").into(),
        })
    }
}

/// Whether a principal is written with its identity.
fn is_qualified(config: &Config, name: &str) -> bool {
    let identity = name.split_once('/').map(|(identity, _)| identity);
    let mut names = config.identity.iter().map(|identity| &*identity.name.value);
    identity.is_some_and(|identity| names.any(|name| name == identity))
}

/// The rule with the identity of each exempt principal; `*` is whichever.
fn qualified(config: &Config, rule: &LimitRule) -> LimitRule {
    let mut rule = rule.clone();
    for name in &mut rule.exempt_principals {
        if !is_qualified(config, name) {
            name.insert_str(0, "*/");
        }
    }
    rule
}

/// An exemption by a name that another identity may give to somebody else.
fn of_any_identity(config: &Config, rule: &Spanned<LimitRule>) -> Option<Diagnostic> {
    let identities = &config.identity;
    let mut principals = rule.value.exempt_principals.iter();
    let name = principals.find(|name| !is_qualified(config, name))?;
    let first = &identities.first()?.name.value;
    if identities.len() < 2 {
        return None;
    }
    let message = format!("`exempt.principals`: `{name}` is whoever any identity calls so");
    let help = format!("write of which it is, such as `{first}/{name}`");
    Some(Diagnostic::warning(rule.span, message).help(help))
}

/// What is said of `store.redis` once all limits are known: that it shares nothing, that another one is
/// in use, that its keys are no secret.
pub(crate) fn advise<'p>(
    config: &Config,
    counts: Option<&Counts>,
    (mut plans, logins): (impl Iterator<Item = &'p LimitsPlan>, bool),
    diagnostics: &mut Vec<Diagnostic>,
) {
    let shares = counts.and_then(|counts| counts.shared.as_ref());
    let Some(redis) = &config.redis else {
        if shares.is_some() {
            tracing::warn!("`store.redis` is gone: instances share their counts until the restart");
        }
        return;
    };
    if let RedisTls::File(ca) = &redis.value.tls
        && let Err(why) = roots_of(ca)
    {
        let help = "a file of certificates in PEM";
        diagnostics.push(Diagnostic::error(redis.span, why).help(help));
    }
    let mut warn = |message: &str, help: &str| {
        diagnostics.push(Diagnostic::warning(redis.span, message).help(help));
    };
    if !logins && plans.next().is_none() {
        warn(
            "`store.redis` shares nothing: no limit and no `login` is written",
            "add `limits` to `defaults`, an API or an operation, or remove it",
        );
    } else if shares.is_none_or(|shared| !shared.is_of(&redis.value)) {
        warn(
            "`store.redis` was changed, and the former stays in use until the restart",
            "restart the instances one after the other",
        );
    }
    let has_pepper = config.store.is_some() || redis.value.pepper.is_some();
    if !has_pepper && redis.value.password.is_none() {
        warn(
            "whoever reads this Redis can find out whose counts it holds: there is neither a pepper nor a password",
            "add `pepper: file:pepper.key`, the same for all instances, or a password",
        );
    }
}

/// From the pepper where there is one, which instances that share a store have in common; else from
/// the password of Redis. Without either nobody is kept from reckoning the keys.
fn under(config: &Config) -> Result<Under, String> {
    const PURPOSE: &str = "what limits are counted under";
    let pepper = config.store.as_ref().map(|store| &store.pepper.value);
    let redis = config.redis.as_ref().map(|redis| &redis.value);
    let pepper = pepper.or_else(|| redis?.pepper.as_ref());
    // What cannot be read stops the start, where the store is opened; `check` goes on.
    if let Some(pepper) =
        pepper.and_then(|source: &SecretSource| fortress_store::pepper(source).ok())
    {
        return Ok(Under::from(pepper.digest(PURPOSE).0));
    }
    if let Some(redis) = redis {
        let mut all = digest::Context::new(&digest::SHA256);
        all.update(PURPOSE.as_bytes());
        if let Some(password) = &redis.password {
            all.update(password.expose().as_bytes());
        }
        let mut whole = [0; 32];
        whole.copy_from_slice(all.finish().as_ref());
        return Ok(Under::from(whole));
    }
    let mut whole = [0; 32];
    aws_lc_rs::rand::fill(&mut whole).map_err(|_| "the system has no randomness".to_owned())?;
    Ok(Under::from(whole))
}

impl From<[u8; 32]> for Under {
    fn from(whole: [u8; 32]) -> Self {
        let hash = digest::digest(&digest::SHA256, &whole);
        let hexadecimal = hash
            .as_ref()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"));
        Self {
            secret: whole.first_chunk().copied().unwrap_or_default(),
            logins: whole.last_chunk().copied().unwrap_or_default(),
            fingerprint: hexadecimal.collect(),
        }
    }
}
