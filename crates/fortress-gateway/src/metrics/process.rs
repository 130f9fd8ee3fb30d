//! What the process as a whole shows: its connections, its journal, and the lists that it follows.

use std::{fmt, sync::atomic::Ordering::Relaxed};

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType, registry::Unit};

use super::{Totals, count};
use crate::{journal::Counters, load::Loads, networks::Feeds};

pub(super) fn connections(encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    let mut open = encoder.encode_descriptor(
        "fortress_connections",
        "Connections open now.",
        None,
        MetricType::Gauge,
    )?;
    for (name, listener) in &totals.listeners {
        open.encode_family(&[("listener", &**name)])?
            .encode_gauge(&listener.accepted.saturating_sub(listener.closed))?;
    }
    let mut accepted = encoder.encode_descriptor(
        "fortress_connections_accepted",
        "Connections accepted.",
        None,
        MetricType::Counter,
    )?;
    for (name, listener) in &totals.listeners {
        count(&mut accepted, &[("listener", &**name)], listener.accepted)?;
    }
    let mut refused = encoder.encode_descriptor(
        "fortress_connections_refused",
        "Connections closed at once, by reason.",
        None,
        MetricType::Counter,
    )?;
    for (name, listener) in &totals.listeners {
        for (reason, value) in listener.refused.nonzero() {
            let labels = [("listener", &**name), ("reason", reason.code())];
            count(&mut refused, &labels, value)?;
        }
    }
    let mut handshakes = encoder.encode_descriptor(
        "fortress_tls_handshakes",
        "TLS handshakes by result.",
        None,
        MetricType::Counter,
    )?;
    for (name, listener) in &totals.listeners {
        for (result, value) in [
            ("success", listener.handshakes),
            ("failure", listener.failed_handshakes),
        ] {
            let labels = [("listener", &**name), ("result", result)];
            count(&mut handshakes, &labels, value)?;
        }
    }
    Ok(())
}

pub(super) fn journal(encoder: &mut DescriptorEncoder<'_>, counters: &Counters) -> fmt::Result {
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

pub(super) fn networks(encoder: &mut DescriptorEncoder<'_>, feeds: &Feeds) -> fmt::Result {
    let feeds = feeds.list();
    if feeds.is_empty() {
        return Ok(());
    }
    let mut ranges = encoder.encode_descriptor(
        "fortress_networks",
        "Ranges of addresses on a list that is fetched.",
        None,
        MetricType::Gauge,
    )?;
    for feed in &feeds {
        ranges
            .encode_family(&[("list", &*feed.name)])?
            .encode_gauge(&u64::try_from(feed.len()).unwrap_or(u64::MAX))?;
    }
    let mut fetches = encoder.encode_descriptor(
        "fortress_networks_fetches",
        "Attempts to fetch a list, by result.",
        None,
        MetricType::Counter,
    )?;
    for feed in &feeds {
        for (result, of) in [("success", &feed.fetched), ("failure", &feed.failed)] {
            let labels = [("list", &*feed.name), ("result", result)];
            count(&mut fetches, &labels, of.load(Relaxed))?;
        }
    }
    let mut last = encoder.encode_descriptor(
        "fortress_networks_fetched_timestamp",
        "When a list was last fetched, since the epoch; 0 for never.",
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?;
    for feed in &feeds {
        last.encode_family(&[("list", &*feed.name)])?
            .encode_gauge(&feed.last.load(Relaxed))?;
    }
    Ok(())
}

pub(super) fn load(encoder: &mut DescriptorEncoder<'_>, loads: &Loads) -> fmt::Result {
    if let Some((used, total)) = loads.memory_used() {
        for (name, help, value) in [
            (
                "fortress_body_memory",
                "Bytes of request bodies that are held.",
                used,
            ),
            (
                "fortress_body_memory_limit",
                "Bytes of them that there may be.",
                total,
            ),
        ] {
            encoder
                .encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?
                .encode_gauge(&value)?;
        }
    }
    let upstreams = loads.upstreams();
    if upstreams.is_empty() {
        return Ok(());
    }
    let mut now = encoder.encode_descriptor(
        "fortress_upstream_in_flight",
        "Requests at an upstream whose concurrency is bounded.",
        None,
        MetricType::Gauge,
    )?;
    for (api, in_flight, _) in &upstreams {
        now.encode_family(&[("api", &**api)])?
            .encode_gauge(in_flight)?;
    }
    let mut most = encoder.encode_descriptor(
        "fortress_upstream_concurrency",
        "How many of them it takes, as was found out.",
        None,
        MetricType::Gauge,
    )?;
    for (api, _, limit) in &upstreams {
        most.encode_family(&[("api", &**api)])?
            .encode_gauge(limit)?;
    }
    Ok(())
}
