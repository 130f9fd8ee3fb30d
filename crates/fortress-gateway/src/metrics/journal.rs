//! What metrics tell of the journal.

use std::fmt;

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType, registry::Unit};

use super::count;
use crate::journal::Counters;

pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, counters: &Counters) -> fmt::Result {
    let mut written = encoder.encode_descriptor(
        "fortress_journal_written",
        "Records written whole, by sink.",
        None,
        MetricType::Counter,
    )?;
    for sink in counters.sinks() {
        count(&mut written, &[("sink", sink.name())], sink.written())?;
    }
    let mut dropped = encoder.encode_descriptor(
        "fortress_journal_dropped",
        "Records lost: to every sink because a worker's queue was full, or to one that failed.",
        None,
        MetricType::Counter,
    )?;
    let overflowed = [("sink", ""), ("cause", "queue")];
    count(&mut dropped, &overflowed, counters.overflowed())?;
    for sink in counters.sinks() {
        let labels = [("sink", sink.name()), ("cause", "sink")];
        count(&mut dropped, &labels, sink.dropped())?;
    }
    let mut bytes = encoder.encode_descriptor(
        "fortress_journal",
        "Bytes written, by sink.",
        Some(&Unit::Bytes),
        MetricType::Counter,
    )?;
    for sink in counters.sinks() {
        count(&mut bytes, &[("sink", sink.name())], sink.bytes())?;
    }
    Ok(())
}
