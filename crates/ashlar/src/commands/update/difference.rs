//! What two superblocks of a member say differently, in words.

use md_format::superblock::Summary;
use md_format::{ByteOrder, ResyncOffset};
use serde::Serialize;

use crate::layouts;
use crate::text::escape;

/// A fact that changes.
#[derive(Serialize, Debug, PartialEq, Eq)]
pub struct Difference {
    pub fact: &'static str,
    pub before: String,
    pub after: String,
}

/// The facts that differ.
pub fn differences(before: &Summary, after: &Summary) -> Vec<Difference> {
    let facts = facts(before).into_iter().zip(facts(after));
    let differ = facts.filter(|((_, before), (_, after))| before != after);
    differ.map(|((fact, before), (_, after))| Difference { fact, before, after }).collect()
}

fn facts(summary: &Summary) -> [(&'static str, String); 14] {
    let flags = [("write-mostly", summary.flags.write_mostly), ("failfast", summary.flags.failfast)];
    let flags: Vec<&str> = flags.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
    let log = summary.bad_block_log.map(|log| format!("{} sectors at {}", log.sectors, log.sector));
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    [
        ("metadata", summary.version.to_string()),
        ("byte order", if summary.byte_order == ByteOrder::Big { "big" } else { "little" }.to_owned()),
        ("name", escape(summary.name.as_bytes())),
        ("uuid", summary.array_uuid_text().to_string()),
        ("layout", or_none(layouts::name(summary.level, summary.layout))),
        ("sectors for data", summary.data_size.to_string()),
        (
            "resync",
            match summary.resync {
                ResyncOffset::Complete => "none needed".to_owned(),
                ResyncOffset::At(sector) => format!("from sector {sector}"),
            },
        ),
        ("bad-block log", or_none(log)),
        ("bitmap", or_none(summary.bitmap.map(|place| format!("at sector {}", place.sector)))),
        (
            "partial parity log",
            or_none(summary.ppl.map(|log| format!("{} sectors at {}", log.sectors, log.sector))),
        ),
        ("features", summary.features.to_string()),
        ("flags", or_none((!flags.is_empty()).then(|| flags.join(", ")))),
        ("md device", or_none(summary.preferred_minor.map(|minor| format!("md{minor}")))),
        ("update counter", summary.events.to_string()),
    ]
}
