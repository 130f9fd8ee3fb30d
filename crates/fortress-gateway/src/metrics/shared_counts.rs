//! What metrics tell of the counts that instances share, and of those that a store keeps.

use std::{fmt, sync::atomic::Ordering::Relaxed};

use prometheus_client::{
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::count;
use crate::{limits::Counts, shared_counts::SharedCounts};

pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, counts: &Counts) -> fmt::Result {
    if let Some(shared) = &counts.shared {
        of_redis(encoder, shared)?;
    }
    let Some(written) = counts.written() else {
        return Ok(());
    };
    encoder
        .encode_descriptor(
            "fortress_quotas_written",
            "Counts of quotas that were written to the store.",
            None,
            MetricType::Counter,
        )?
        .encode_counter::<NoLabelSet, u64, f64>(&written, None)
}

fn of_redis(encoder: &mut DescriptorEncoder<'_>, shared: &SharedCounts) -> fmt::Result {
    let totals = shared.totals();
    encoder
        .encode_descriptor(
            "fortress_redis_up",
            "Whether Redis answers: 1, or 0 while it is left alone.",
            None,
            MetricType::Gauge,
        )?
        .encode_gauge(&u64::from(!shared.is_away()))?;
    encoder
        .encode_descriptor(
            "fortress_redis_instances",
            "Instances that share counts, as far as is known.",
            None,
            MetricType::Gauge,
        )?
        .encode_gauge(&u64::from(shared.instances()))?;
    let mut calls = encoder.encode_descriptor(
        "fortress_redis_calls",
        "Calls to Redis, by how they ended; those that found the queue full were not made.",
        None,
        MetricType::Counter,
    )?;
    for (result, total) in [
        ("answered", &totals.answered),
        ("failed", &totals.failed),
        ("crowded", &totals.crowded),
    ] {
        count(&mut calls, &[("result", result)], total.load(Relaxed))?;
    }
    encoder
        .encode_descriptor(
            "fortress_redis_losses",
            "Times that Redis was given up.",
            None,
            MetricType::Counter,
        )?
        .encode_counter::<NoLabelSet, u64, f64>(&totals.lost.load(Relaxed), None)?;
    let mut fallbacks = encoder.encode_descriptor(
        "fortress_limit_fallbacks",
        "Requests that a limit decided about without Redis, by its `on_fault`.",
        None,
        MetricType::Counter,
    )?;
    for (policy, total) in ["local", "open", "closed"].iter().zip(&totals.fallbacks) {
        count(&mut fallbacks, &[("policy", *policy)], total.load(Relaxed))?;
    }
    Ok(())
}
