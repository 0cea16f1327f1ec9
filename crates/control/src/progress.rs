//! How far a sync action is, whichever it is.

use crate::document::SyncStatus;

/// A sync action under way.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Progress {
    /// What it is called in `/proc/mdstat`.
    pub action: &'static str,
    /// Bytes behind it.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// How fast.
    pub bytes_per_second: u64,
    /// How long it will take at this speed.
    pub seconds_left: Option<u64>,
}

/// The action that is under way, if one is.
pub fn progress(sync: &SyncStatus) -> Option<Progress> {
    let (action, progress) = sync.progress()?;
    Some(Progress {
        action: match action {
            "recover" => "recovery",
            "repair" => "resync",
            other => other,
        },
        done_bytes: progress.done_bytes,
        total_bytes: progress.total_bytes,
        bytes_per_second: progress.bytes_per_second,
        seconds_left: progress.seconds_left,
    })
}

impl Progress {
    /// How much is done, from 0 to 1.
    pub fn part(&self) -> f64 {
        (self.done_bytes as f64 / self.total_bytes.max(1) as f64).min(1.0)
    }

    /// The same in whole percent, rounded down.
    pub fn percent(&self) -> u8 {
        let percent = u128::from(self.done_bytes) * 100 / u128::from(self.total_bytes.max(1));
        percent.min(100) as u8
    }
}
