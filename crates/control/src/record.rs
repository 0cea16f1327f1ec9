//! What the last scrub of each array has found, kept beyond the run: a small JSON file an array, beside the snapshots of
//! metadata. Members are never told: an array that is opened elsewhere begins without.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::document::ScrubStatus;

/// The version of the file.
const VERSION: u32 = 1;

/// The folder of these files.
pub struct Records {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    array_uuid: String,
    last_scrub: ScrubStatus,
}

impl Records {
    /// Those in a folder, which is made when there is something to keep.
    pub fn new(dir: PathBuf) -> Records {
        Records { dir }
    }

    /// What was kept of an array. A file that makes no sense is none.
    pub fn last_scrub(&self, uuid: &str) -> Option<ScrubStatus> {
        let bytes = fs::read(self.path(uuid)).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        (record.version == VERSION && record.array_uuid == uuid).then_some(record.last_scrub)
    }

    /// Keeps it in the place of what was kept before: after a crash there is one of the two.
    pub fn keep(&self, uuid: &str, scrub: &ScrubStatus) -> io::Result<()> {
        let record = Record { version: VERSION, array_uuid: uuid.to_owned(), last_scrub: scrub.clone() };
        fs::create_dir_all(&self.dir)?;
        let (path, fresh) = (self.path(uuid), self.path(uuid).with_extension("new"));
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(&record).expect("a record is plain data"))?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(&self.dir)?.sync_all()
    }

    fn path(&self, uuid: &str) -> PathBuf {
        self.dir.join(format!("{}.json", uuid.replace(':', "-")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub(started_s: u64) -> ScrubStatus {
        ScrubStatus {
            action: "check".to_owned(),
            started_s,
            ended_s: Some(started_s + 1),
            complete: true,
            bytes: Some((0, 4096)),
            mismatched_bytes: 0,
            repaired_bytes: 0,
            unreadable_bytes: 0,
            places: Vec::new(),
        }
    }

    #[test]
    fn the_last_one_of_each_array_is_kept() {
        let dir = std::env::temp_dir().join(format!("ashlar-scrubs-{}", std::process::id()));
        let records = Records::new(dir.clone());
        assert_eq!(records.last_scrub("1:2"), None);
        records.keep("1:2", &scrub(10)).unwrap();
        records.keep("1:2", &scrub(20)).unwrap();
        records.keep("1:3", &scrub(30)).unwrap();
        assert_eq!(records.last_scrub("1:2"), Some(scrub(20)));
        fs::write(records.path("1:3"), "{}").unwrap();
        assert_eq!(records.last_scrub("1:3"), None);
        fs::remove_dir_all(dir).unwrap();
    }
}
