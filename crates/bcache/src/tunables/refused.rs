//! What sysfs has of bcache, can be written there, and cannot be set here: each with the reason.

/// Something that cannot be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// bcache's name for it.
    pub name: &'static str,
    /// Why not.
    pub why: &'static str,
}

const fn refused(name: &'static str, why: &'static str) -> Refused {
    Refused { name, why }
}

const DEBUG: &str = "it is there to debug the kernel's code";
const COMMAND: &str = "it is no setting but an act; there is a command for it (ashlar cache --help)";

/// Of a set, and of a cache, of which a set has one.
pub const OF_A_SET: &[Refused] = &[
    refused("synchronous", "without a journal a crash loses the set"),
    refused(
        "discard",
        "the kernel discards buckets one by one and waits for each, which only costs; 6.19 has none of it",
    ),
    refused("gc_after_writeback", "what nobody needs is known at any time, without a pass over the tree"),
    refused("errors", "a set that fails stops, and keeps its dirty data; nothing panics"),
    refused("io_disable", "a set is stopped as a whole (ashlar stop)"),
    refused("gc_always_rewrite", "nodes are rewritten when that frees something"),
    refused("btree_shrinker_disabled", "nodes have a fixed amount of memory; nobody takes it away"),
    refused("prune_cache", "nodes have a fixed amount of memory; nobody takes it away"),
    refused("verify", DEBUG),
    refused("key_merging_disabled", DEBUG),
    refused("expensive_debug_checks", DEBUG),
    refused("trigger_gc", "what nobody needs is collected as soon as buckets run short, in small steps"),
    refused("clear_stats", COMMAND),
    refused("stop", COMMAND),
    refused("unregister", COMMAND),
    refused("flash_vol_create", COMMAND),
];

/// Of a volume.
pub const OF_A_VOLUME: &[Refused] = &[
    refused(
        "writeback_rate",
        "the controller sets it every few seconds; writeback_percent and writeback_rate_minimum guide it",
    ),
    refused("writeback_metadata", "the kernel stores it and never looks at it"),
    refused("data_csum", "the kernel stores it and never looks at it: the format has no checksums of data"),
    refused("verify", DEBUG),
    refused("bypass_torture_test", DEBUG),
    refused("io_disable", "a volume is stopped with its stack (ashlar stop)"),
    refused("label", "it is given when the device is made (ashlar cache create --label)"),
    refused("size", "volumes that lie in the cache alone keep the size that they were made with"),
    refused("running", "a volume runs as long as its stack does"),
    refused("attach", COMMAND),
    refused("detach", COMMAND),
    refused("stop", COMMAND),
    refused("clear_stats", COMMAND),
];
