//! What the journal's entries come to, laid over each other.

use bcache_format::jset::{Jset, Roots};

use super::chain::Entry;
use crate::btree::content::Content;
use crate::error::SetError;
use crate::reader::Reader;

/// Lays the keys of all entries over each other, the oldest first. Where everything was when the newest was written, and
/// how many keys there were.
pub(crate) async fn read(
    reader: &Reader,
    entries: &[Entry],
    pending: &mut Content,
) -> Result<(Roots, u64), SetError> {
    let geometry = *reader.geometry();
    let (mut roots, mut count) = (None, 0);
    for entry in entries {
        let start = geometry.sector(geometry.journal_bucket(entry.index)) + entry.offset;
        let wrong = |error| SetError::Form { what: "journal entry", sector: start, error };
        let bytes = reader.entry(entry).await?;
        let jset = Jset::view(&bytes, geometry.set_magic).map_err(wrong)?;
        if jset.version.get() == 0 {
            return Err(SetError::OldForm { what: "a journal entry of version 0" });
        }
        for key in Jset::check(&bytes, geometry.set_magic).map_err(wrong)? {
            let key = key.map_err(wrong)?;
            geometry.check_extent(&key).map_err(wrong)?;
            if key.sectors() > 0 {
                pending.lay(key, |_| ());
                count += 1;
            }
        }
        let found = jset.roots().map_err(wrong)?;
        geometry.check_node(&found.root).map_err(wrong)?;
        roots = Some(found);
    }
    Ok((roots.ok_or(SetError::JournalEmpty)?, count))
}
