//! How caches and cached volumes stand.

use control::{CacheStatus, CachedStatus};

use super::render_export;
use crate::text::size;

/// One cache.
pub fn render_cache(cache: &CacheStatus) -> String {
    let buckets = &cache.buckets;
    let mut text = format!(
        "  cache {}: {} buckets of {}, {}% in use, {} dirty\n",
        cache.name,
        buckets.all,
        size(cache.bucket_bytes),
        buckets.in_use_percent(),
        size(cache.dirty_bytes),
    );
    if let Some(why) = &cache.broken_by {
        text += &format!("    BROKEN, nothing is cached any more: {why}\n");
    }
    let (dirty, metadata, free) = (buckets.dirty, buckets.metadata, buckets.free);
    text + &format!("    buckets in use: {dirty} dirty, {metadata} metadata; {free} ready for data\n")
}

/// One volume.
pub fn render_cached(volume: &CachedStatus) -> String {
    let on = match (&volume.backing, &volume.cache) {
        (Some(backing), Some(cache)) => format!("on {backing}, cached by {cache}"),
        (Some(backing), None) => format!("on {backing}"),
        (None, cache) => format!("in {}", cache.as_deref().unwrap_or("no cache")),
    };
    let detaching = if volume.detaching { ", being detached" } else { "" };
    let mut text = format!(
        "  volume {}: {} {on}, {}, {}{detaching}\n",
        volume.name,
        size(volume.bytes),
        volume.mode,
        volume.state,
    );
    if let Some(why) = &volume.broken_by {
        text += &format!("    BROKEN, nothing is written any more: {why}\n");
    }
    if let Some(why) = &volume.uncached_by {
        text += &format!("    its cache has failed, and it goes on without; nothing is missing: {why}\n");
    }
    if let Some(writeback) = volume.writeback.filter(|_| volume.dirty_bytes > 0) {
        text += &format!(
            "    dirty: {}, written back at up to {}/s towards {}\n",
            size(volume.dirty_bytes),
            size(writeback.rate),
            size(writeback.target_bytes)
        );
    }
    let (total, lately) = (&volume.counts.total, &volume.counts.five_minute);
    text += &format!(
        "    hits: {} of {} ({}%; lately {}%), {} went past the cache\n",
        total.cache_hits,
        total.cache_hits + total.cache_misses,
        total.cache_hit_ratio,
        lately.cache_hit_ratio,
        size(total.bypassed)
    );
    text + &render_export(&volume.export)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(change: impl FnOnce(&mut serde_json::Value)) -> CachedStatus {
        let span = serde_json::json!({
            "cache_hits": 30, "cache_misses": 10, "cache_bypass_hits": 0, "cache_bypass_misses": 2,
            "cache_hit_ratio": 75, "cache_miss_collisions": 0, "bypassed": 8 << 20,
        });
        let mut json = serde_json::json!({
            "name": "home", "uuid": "u", "bytes": 1u64 << 30, "backing": "array m", "cache": "c",
            "mode": "writeback", "state": "dirty", "detaching": false, "dirty_bytes": 3 << 20,
            "writeback": { "rate": 4096, "target_bytes": 1 << 20, "proportional": 1, "integral": 0 },
            "counts": { "total": span, "day": span, "hour": span, "five_minute": span },
            "bypassed_bytes": {}, "tunables": {},
            "export": serde_json::to_value(control::ExportStatus::default()).unwrap(), "io": [],
        });
        change(&mut json);
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_volume_says_where_it_lies_and_how_much_of_it_is_nowhere_else() {
        let text = render_cached(&volume(|_| ()));
        assert!(
            text.starts_with("  volume home: 1 GiB on array m, cached by c, writeback, dirty\n"),
            "{text}"
        );
        assert!(text.contains("dirty: 3 MiB, written back at up to 4 KiB/s towards 1 MiB\n"), "{text}");
        assert!(text.contains("hits: 30 of 40 (75%; lately 75%), 8 MiB went past the cache\n"), "{text}");
    }

    #[test]
    fn a_volume_without_a_cache_or_without_a_backing_device_says_so() {
        let text = render_cached(&volume(|json| json["cache"] = serde_json::Value::Null));
        assert!(text.contains("1 GiB on array m, writeback"), "{text}");
        let text = render_cached(&volume(|json| json["backing"] = serde_json::Value::Null));
        assert!(text.contains("1 GiB in c, writeback"), "{text}");
        let text = render_cached(&volume(|json| json["dirty_bytes"] = 0.into()));
        assert!(!text.contains("written back"), "{text}");
    }
}
