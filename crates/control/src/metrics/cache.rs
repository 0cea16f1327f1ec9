//! Caches and cached volumes in numbers.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::document::{CacheStatus, CachedStatus, StackStatus};

/// A number of something: its name, what it is, whether it only grows, and where it is found.
type Row<T> = (&'static str, &'static str, MetricType, fn(&T) -> u64);

const OF_CACHES: [Row<CacheStatus>; 8] = {
    use MetricType::{Counter, Gauge};
    [
        ("cache_buckets_in_use_percent", "Buckets that could not be reused at once", Gauge, |cache| {
            cache.buckets.in_use_percent()
        }),
        ("cache_dirty_bytes", "Bytes that only the cache has", Gauge, |cache| cache.dirty_bytes),
        ("cache_broken", "1 when nothing can be cached any more", Gauge, |cache| {
            cache.broken_by.is_some().into()
        }),
        ("cache_io_errors", "Errors of the cache that count", Gauge, |cache| cache.io_errors),
        ("cache_written_bytes", "Bytes of data written to the cache", Counter, |cache| cache.written_bytes),
        ("cache_metadata_written_bytes", "Bytes of metadata written to it", Counter, |cache| {
            cache.metadata_written_bytes
        }),
        ("cache_hits", "Requests that the cache had everything of", Counter, |cache| {
            cache.counts.total.cache_hits
        }),
        ("cache_misses", "Requests that it had not", Counter, |cache| cache.counts.total.cache_misses),
    ]
};

const OF_VOLUMES: [Row<CachedStatus>; 5] = {
    use MetricType::{Counter, Gauge};
    [
        ("volume_dirty_bytes", "Bytes of the volume that only its cache has", Gauge, |volume| {
            volume.dirty_bytes
        }),
        ("volume_broken", "1 when nothing can be written to the volume any more", Gauge, |volume| {
            volume.broken_by.is_some().into()
        }),
        ("volume_cache_hits", "Requests that the cache had everything of", Counter, |volume| {
            volume.counts.total.cache_hits
        }),
        ("volume_cache_misses", "Requests that it had not", Counter, |volume| {
            volume.counts.total.cache_misses
        }),
        ("volume_bypassed_bytes", "Bytes that went past the cache", Counter, |volume| {
            volume.counts.total.bypassed
        }),
    ]
};

/// Adds those of a stack.
pub fn encode(to: &mut DescriptorEncoder<'_>, stack: &StackStatus) -> fmt::Result {
    encode_all(to, &stack.name, "cache", &stack.caches, |cache| &cache.name, &OF_CACHES)?;
    encode_all(to, &stack.name, "volume", &stack.cached, |volume| &volume.name, &OF_VOLUMES)
}

fn encode_all<T>(
    to: &mut DescriptorEncoder<'_>,
    stack: &str,
    what: &'static str,
    all: &[T],
    name: impl Fn(&T) -> &str,
    rows: &[Row<T>],
) -> fmt::Result {
    if all.is_empty() {
        return Ok(());
    }
    for (metric, help, kind, value) in rows {
        let mut family = to.encode_descriptor(metric, help, None, *kind)?;
        for it in all {
            let labels = [("stack", stack), (what, name(it))];
            let mut metric = family.encode_family(&labels)?;
            match kind {
                MetricType::Counter => metric.encode_counter::<NoLabelSet, _, u64>(&value(it), None)?,
                _ => metric.encode_gauge(&i64::try_from(value(it)).unwrap_or(i64::MAX))?,
            }
        }
    }
    Ok(())
}
