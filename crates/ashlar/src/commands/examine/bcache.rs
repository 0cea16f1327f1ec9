//! What disks and arrays say they are to bcache, and the volumes that they make.

use bcache_format::superblock::{Backing, Cache, Kind};
use serde::Serialize;

use crate::stack::{Cached, Disk, Stack, Top, TopKind};
use crate::text::{Facts, date, escape, sectors, size, uuid};

/// A cache or a backing device.
#[derive(Serialize)]
pub struct DiskReport {
    member: String,
    uuid: String,
    set_uuid: Option<String>,
    label: Option<String>,
    version: u64,
    block_bytes: u64,
    last_used_s: u32,
    #[serde(flatten)]
    kind: KindReport,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum KindReport {
    Cache { used: bool, buckets: u64, bucket_bytes: u64, journal_buckets: u64, replacement: &'static str },
    Backing { state: &'static str, mode: &'static str, data_offset: u64, data_sectors: u64 },
}

/// A volume.
#[derive(Serialize)]
pub struct VolumeReport {
    name: String,
    uuid: String,
    /// The disk or array that backs it; none of a volume that lies in the cache alone.
    backing: Option<String>,
    /// Bytes of it; none if it cannot be opened.
    bytes: Option<u64>,
    reading_forbidden_by: Option<String>,
    warnings: Vec<String>,
}

/// What all of them say.
pub fn disks(disks: &[Disk]) -> Vec<DiskReport> {
    disks.iter().map(DiskReport::of).collect()
}

/// The volumes that they make.
pub fn volumes(stack: &Stack<'_>) -> Vec<VolumeReport> {
    let cached = |top: &Top<'_>| match &top.kind {
        TopKind::Cached(cached) => Some(VolumeReport::of(&top.name, cached)),
        TopKind::Array(_) => None,
    };
    stack.tops.iter().filter_map(cached).collect()
}

impl DiskReport {
    fn of(disk: &Disk) -> DiskReport {
        let summary = &disk.examined.summary;
        let is_some = |bytes: &[u8; 16]| *bytes != [0; 16];
        DiskReport {
            member: disk.name.clone(),
            uuid: uuid(&summary.uuid),
            set_uuid: Some(summary.set_uuid).filter(is_some).map(|bytes| uuid(&bytes)),
            label: Some(escape(summary.label.bytes())).filter(|label| !label.is_empty()),
            version: summary.version,
            block_bytes: summary.block_sectors * 512,
            last_used_s: summary.last_mount,
            kind: match summary.kind {
                Kind::Cache(Cache { geometry, is_used, replacement, .. }) => KindReport::Cache {
                    used: is_used,
                    buckets: geometry.buckets,
                    bucket_bytes: geometry.bucket_sectors * 512,
                    journal_buckets: geometry.journal_buckets,
                    replacement: replacement.name(),
                },
                Kind::Backing(Backing { data_offset, data_sectors, mode, state }) => {
                    KindReport::Backing { state: state.name(), mode: mode.name(), data_offset, data_sectors }
                }
            },
        }
    }

    /// For people.
    pub fn render(&self) -> String {
        let mut facts = Facts::default();
        facts.add("superblock", format!("version {} at sector 8", self.version));
        facts.add("uuid", &self.uuid);
        facts.add_some("set uuid", self.set_uuid.as_ref());
        facts.add_some("label", self.label.as_ref());
        facts.add("block", size(self.block_bytes));
        let what = match &self.kind {
            KindReport::Cache { used, buckets, bucket_bytes, journal_buckets, replacement } => {
                facts.add("set", if *used { "there is one" } else { "none yet" });
                facts.add("buckets", format!("{buckets} of {}", size(*bucket_bytes)));
                facts.add("journal", format!("{journal_buckets} buckets"));
                facts.add("replacement", replacement);
                facts.add("last used", date(self.last_used_s.into()));
                "cache"
            }
            KindReport::Backing { state, mode, data_offset, data_sectors } => {
                facts.add("state", state);
                facts.add("mode", mode);
                facts.add("data", format!("{} from sector {data_offset}", sectors(*data_sectors)));
                "backing device"
            }
        };
        format!("{}: {what} of bcache\n{}", self.member, facts.render())
    }
}

impl VolumeReport {
    fn of(name: &str, cached: &Cached) -> VolumeReport {
        VolumeReport {
            name: name.to_owned(),
            uuid: uuid(&cached.uuid),
            backing: cached.backing.clone(),
            bytes: cached.device.as_ref().ok().and_then(|device| device.geometry().size.checked_bytes()),
            reading_forbidden_by: cached.device.as_ref().err().cloned(),
            warnings: cached.warnings.clone(),
        }
    }

    /// For people.
    pub fn render(&self) -> String {
        let bytes = self.bytes.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default();
        let mut text = format!("volume {}: bcache{bytes}, {}\n", self.name, self.uuid);
        text += &match &self.backing {
            Some(backing) => format!("  backed by  {backing}\n"),
            None => "  backed by  nothing: it lies in the cache alone\n".to_owned(),
        };
        self.warnings.iter().for_each(|warning| text += &format!("  warning    {warning}\n"));
        text + &match &self.reading_forbidden_by {
            None => "  reading    possible\n".to_owned(),
            Some(why) => format!("  reading    no: {why}\n"),
        }
    }
}
