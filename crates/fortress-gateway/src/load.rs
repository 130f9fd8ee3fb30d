//! What protects from too much at once: the memory that bodies may take together, and how many
//! requests each upstream gets.
//!
//! Living, since what is in flight outlives a reload. Deliberately not here: how a limit is found
//! (`fortress_limits::adaptive`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use fortress_limits::{
    adaptive::{Adaptive, Outcome, Pass, Priority, Settings},
    budget::Budget,
};
use fortress_model::{
    Decision, Denial, Reason,
    config::{self, Concurrency},
};
use tokio::time::Instant;

use crate::compile::OperationPlan;

/// All that is loaded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loads {
    memory: Arc<Mutex<Option<Arc<Budget>>>>,
    upstreams: Arc<Mutex<HashMap<Arc<str>, Arc<Load>>>>,
}

/// What an API's upstream has to do.
#[derive(Debug)]
pub(crate) struct Load {
    adaptive: Arc<Adaptive>,
    settings: Settings,
    began: Instant,
}

impl Loads {
    /// The memory of all bodies. While its size is the same it is the same.
    pub(crate) fn memory(&self, bytes: u64) -> Arc<Budget> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match &*memory {
            Some(known) if known.total() == bytes => Arc::clone(known),
            Some(_) | None => Arc::clone(memory.insert(Budget::new(bytes))),
        }
    }

    /// The load of an API's upstream. What was learnt is kept while its bounds are the same.
    pub(crate) fn upstream(&self, api: &str, concurrency: &Concurrency) -> Arc<Load> {
        let settings = Settings {
            min: concurrency.min,
            max: concurrency.max,
            start: concurrency.start,
            tolerance: concurrency.tolerance,
        };
        let mut upstreams = self
            .upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        upstreams.retain(|name, load| Arc::strong_count(load) > 1 || **name == *api);
        if let Some(known) = upstreams.get(api)
            && known.settings == settings
        {
            return Arc::clone(known);
        }
        let load = Arc::new(Load {
            adaptive: Adaptive::new(settings),
            settings,
            began: Instant::now(),
        });
        upstreams.insert(api.into(), Arc::clone(&load));
        load
    }

    /// Bytes that bodies take, and may take.
    pub(crate) fn memory_used(&self) -> Option<(u64, u64)> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory
            .as_ref()
            .map(|memory| (memory.used(), memory.total()))
    }

    /// Of each API whose upstream is watched: requests in flight, and how many there may be.
    pub(crate) fn upstreams(&self) -> Vec<(Arc<str>, u64, u64)> {
        let upstreams = self
            .upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let all = upstreams.iter();
        all.map(|(name, load)| {
            let adaptive = &load.adaptive;
            (Arc::clone(name), adaptive.in_flight(), adaptive.limit())
        })
        .collect()
    }
}

/// A request at the upstream. Dropping it says nothing about the upstream.
#[derive(Debug)]
pub(crate) struct Passing {
    pass: Pass,
    began: Instant,
}

impl Passing {
    /// How it went.
    pub(crate) fn finish(self, outcome: Outcome) {
        self.pass.finish(outcome, nanoseconds(self.began));
    }
}

/// Lets a request through to its upstream, if that can take one more.
///
/// # Errors
/// `upstream.overloaded`.
pub(crate) fn enter(
    decision: &mut Decision,
    plan: &OperationPlan,
) -> Result<Option<Passing>, Denial> {
    let Some(load) = &plan.api.upstream.load else {
        return Ok(None);
    };
    let priority = match plan.priority {
        config::Priority::Low => Priority::Low,
        config::Priority::Normal => Priority::Normal,
        config::Priority::High => Priority::Critical,
    };
    match load.adaptive.enter(priority, nanoseconds(load.began)) {
        Ok(pass) => Ok(Some(Passing {
            pass,
            began: load.began,
        })),
        Err(_) => {
            let (most, priority) = (load.adaptive.limit(), plan.priority.name());
            let detail = format!("the upstream takes {most} at once; priority `{priority}`");
            decision.refuse(Reason::UpstreamOverloaded, detail)?;
            Ok(None)
        }
    }
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
