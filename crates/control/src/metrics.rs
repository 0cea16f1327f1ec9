//! A stack's status in numbers: OpenMetrics text, which Prometheus and its kin fetch.
//!
//! Everything here is in [`StackStatus`] too, and is made from it. Names and labels are only ever added.

mod cache;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::document::{ArrayState, ArrayStatus, IoStatus, StackStatus, SyncStatus};

/// What the text is, for whoever fetches it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The finest bucket of a histogram: what took less than a microsecond. The counters know finer ones.
const FINEST_NS: u64 = 1 << 10;

/// The last bucket that has an end, half a minute: members count as dead after that.
const LAST_NS: u64 = 1 << 35;

/// The text for one stack.
pub fn text(status: StackStatus) -> String {
    let mut registry = Registry::with_prefix("ashlar");
    registry.register_collector(Box::new(Scrape(status)));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("text is written to memory");
    text
}

#[derive(Debug)]
struct Scrape(StackStatus);

/// A label and its value.
type Label<'a> = (&'static str, &'a str);

/// A kind of requests to an array (no member) or to a member of it.
struct Row<'a> {
    labels: [Label<'a>; 4],
    io: &'a IoStatus,
}

impl Scrape {
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let stack = self.0.name.as_str();
        self.0.arrays.iter().flat_map(move |array| {
            let own = array.io.iter().map(|io| ("", io));
            let members = array.members.iter();
            let members = members.flat_map(|member| member.io.iter().map(|io| (member.name.as_str(), io)));
            own.chain(members).map(move |(member, io)| {
                let labels = [("stack", stack), ("array", &array.name), ("member", member), ("op", &io.op)];
                Row { labels, io }
            })
        })
    }

    fn counter(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&IoStatus) -> u64,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for row in self.rows() {
            let mut metric = family.encode_family(&row.labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value(row.io), None)?;
        }
        Ok(())
    }

    fn gauge(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&ArrayStatus) -> u64,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for array in &self.0.arrays {
            let labels: [Label<'_>; 2] = [("stack", &self.0.name), ("array", &array.name)];
            family.encode_family(&labels)?.encode_gauge(&i64::try_from(value(array)).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut encoder;
        self.counter(to, "requests", "Requests begun", |io| io.begun)?;
        self.counter(to, "request_failures", "Requests that failed", |io| io.failed)?;
        self.counter(to, "request_bytes", "Bytes in requests that ended well", |io| io.bytes)?;
        {
            let help = "Requests that have not ended yet";
            let mut family = to.encode_descriptor("requests_in_flight", help, None, MetricType::Gauge)?;
            for row in self.rows() {
                let count = i64::try_from(row.io.in_flight).unwrap_or(i64::MAX);
                family.encode_family(&row.labels)?.encode_gauge(&count)?;
            }
        }
        {
            let help = "How long requests took, waiting for a slot included";
            let mut family = to.encode_descriptor("request_seconds", help, None, MetricType::Histogram)?;
            for row in self.rows() {
                histogram(family.encode_family(&row.labels)?, row.io)?;
            }
        }
        self.gauge(to, "array_slots", "Members that the array has when whole", |array| array.slots.into())?;
        self.gauge(to, "array_in_sync", "Members in sync", |array| array.in_sync.into())?;
        self.gauge(to, "array_broken", "1 when nothing can be written any more", |array| {
            (array.state == ArrayState::Broken).into()
        })?;
        self.gauge(to, "array_unsynced_bytes", "Bytes that a resync still has to look at", unsynced)?;
        cache::encode(to, &self.0)
    }
}

/// Bytes that are not known to be the same on every copy.
fn unsynced(array: &ArrayStatus) -> u64 {
    match &array.sync {
        SyncStatus::Pending { of } if of.is_empty() || of == "resync" => array.bytes,
        SyncStatus::Resync(progress) => progress.total_bytes.saturating_sub(progress.done_bytes),
        _ => 0,
    }
}

/// The same buckets for everybody, empty or not: only so can they be added up.
fn histogram(mut metric: MetricEncoder<'_>, io: &IoStatus) -> fmt::Result {
    let ends = std::iter::successors(Some(FINEST_NS), |end| (*end < LAST_NS).then_some(end * 2));
    let mut buckets: Vec<(f64, u64)> = ends.map(|end| (seconds(end), 0)).collect();
    buckets.push((f64::INFINITY, 0));
    for bucket in &io.latency {
        let end = bucket.below_ns.map_or(f64::INFINITY, seconds);
        let at = buckets.partition_point(|(upper, _)| *upper < end);
        buckets[at].1 += bucket.count;
    }
    let ended = io.done + io.failed;
    metric.encode_histogram::<NoLabelSet>(seconds(io.total_ns), ended, &buckets, None)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::LatencyBucket;

    fn io() -> IoStatus {
        IoStatus {
            op: "read".to_owned(),
            begun: 9,
            done: 7,
            failed: 1,
            in_flight: 1,
            bytes: 4096,
            total_ns: 3_000_000_000,
            latency: vec![
                LatencyBucket { below_ns: Some(64), count: 2 },
                LatencyBucket { below_ns: Some(2048), count: 5 },
                LatencyBucket { below_ns: None, count: 1 },
            ],
        }
    }

    fn cache() -> serde_json::Value {
        let span = serde_json::json!({
            "cache_hits": 3, "cache_misses": 2, "cache_bypass_hits": 0, "cache_bypass_misses": 0,
            "cache_hit_ratio": 60, "cache_miss_collisions": 0, "bypassed": 0,
        });
        serde_json::json!({
            "name": "c", "set_uuid": "", "broken_by": null, "bucket_bytes": 0, "block_bytes": 0,
            "buckets": { "all": 200, "dirty": 10, "metadata": 20, "free": 8 }, "dirty_bytes": 77, "tree_depth": 1,
            "written_bytes": 1, "btree_written_bytes": 2, "metadata_written_bytes": 3, "cache_read_races": 4,
            "counts": { "total": span, "day": span, "hour": span, "five_minute": span },
            "tunables": {}, "io": [],
        })
    }

    fn status() -> StackStatus {
        let array = serde_json::json!({
            "name": "a\"b", "uuid": "", "level": "raid1", "metadata": "1.2", "bytes": 1024, "events": 1,
            "state": "broken", "broken_by": null, "slots": 2, "in_sync": 1, "sync": { "action": "pending" },
            "members": [{
                "name": "/dev/x", "slot": 0, "number": 0, "state": "in_sync", "failure": null,
                "corrected_reads": 0, "write_mostly": false, "io": [io()],
            }],
            "export": { "reads": 0, "read_bytes": 0, "writes": 0, "written_bytes": 0, "flushes": 0, "trims": 0,
                "errors": 0 },
            "io": [io()],
        });
        let stack = serde_json::json!({
            "api_version": 1, "name": "s", "program_version": "", "pid": 1, "started_s": 0, "driver": "",
            "read_only": false, "snapshot": null, "arrays": [array], "servers": [], "caches": [cache()],
        });
        serde_json::from_value(stack).unwrap()
    }

    #[test]
    fn every_layer_and_member_has_its_numbers() {
        let text = text(status());
        let has = |line: &str| assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        let member = r#"stack="s",array="a\"b",member="/dev/x",op="read""#;
        has(&format!("ashlar_requests_total{{{member}}} 9"));
        has(r#"ashlar_requests_total{stack="s",array="a\"b",member="",op="read"} 9"#);
        has(&format!("ashlar_request_failures_total{{{member}}} 1"));
        has(&format!("ashlar_request_bytes_total{{{member}}} 4096"));
        has(&format!("ashlar_requests_in_flight{{{member}}} 1"));
        has(&format!("ashlar_request_seconds_count{{{member}}} 8"));
        has(r#"ashlar_array_in_sync{stack="s",array="a\"b"} 1"#);
        has(r#"ashlar_array_broken{stack="s",array="a\"b"} 1"#);
        has(r#"ashlar_array_unsynced_bytes{stack="s",array="a\"b"} 1024"#);
        has(r#"ashlar_cache_dirty_bytes{stack="s",cache="c"} 77"#);
        has(r#"ashlar_cache_buckets_in_use_percent{stack="s",cache="c"} 15"#);
        has(r#"ashlar_cache_hits_total{stack="s",cache="c"} 3"#);
        assert!(!text.contains("ashlar_volume_"), "there is no volume of bcache");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn buckets_add_up_and_are_the_same_for_everybody() {
        let text = text(status());
        let prefix = "ashlar_request_seconds_bucket{";
        let buckets: Vec<_> = text.lines().filter(|line| line.starts_with(prefix)).collect();
        let counts = |member: &str| -> Vec<u64> {
            let own = buckets.iter().filter(|line| line.contains(member));
            own.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
        };
        let all = counts("member=\"/dev/x\"");
        assert_eq!((all.len(), all[0], all[1], all[all.len() - 1]), (27, 2, 7, 8));
        assert_eq!(all, counts("member=\"\""));
    }
}
