//! Hashes and sizes as content.sha256 and members.sha256 keep them.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::Error;

/// The largest window of the compressed images: 128 MiB, so that members which are copies of each other are stored
/// once however far apart they lie.
pub(super) const WINDOW_LOG_MAX: u32 = 27;

/// One line: `HASH  NAME  SIZE bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// The file or device.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
}

impl FromStr for Content {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [sha256, name, size, "bytes"] = words[..]
            && sha256.len() == 64
            && let Ok(size_bytes) = size.parse()
        {
            return Ok(Self { sha256: sha256.to_owned(), name: name.to_owned(), size_bytes });
        }
        let what = "a line of hashes".to_owned();
        Err(Error::Unexpected { what, expected: "HASH  NAME  SIZE bytes", found: line.to_owned() })
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}  {} bytes", self.sha256, self.name, self.size_bytes)
    }
}

/// SHA-256 in lower-case hexadecimal, as `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let content = Content { sha256: sha256(b""), name: "/dev/md0".into(), size_bytes: 4096 };
        assert!(
            content
                .to_string()
                .starts_with("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  ")
        );
        assert_eq!(content.to_string().parse::<Content>().unwrap(), content);
    }

    #[test]
    fn a_line_that_is_something_else_is_quoted() {
        let error = "mdadm: no arrays found".parse::<Content>().unwrap_err().to_string();
        assert!(error.contains("mdadm: no arrays found"), "{error}");
    }
}
