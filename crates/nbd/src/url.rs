//! Addresses of exports as people write them: `nbd://host[:port]/export` and `nbd+unix:///export?socket=/path`.
//!
//! Source: the URI document of the reference implementation (NetworkBlockDevice/nbd, `doc/uri.md`), without encryption
//! and vsock.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;

use runtime::Address;

use crate::Error;
use crate::limits::NAME_BYTES;

/// The port that is NBD's where none is named.
const PORT: u16 = 10_809;

/// Where an export is.
///
/// ```
/// let url: nbd::Url = "nbd://example.org/my%20disk".parse().unwrap();
/// assert_eq!(url.address, runtime::Address::Tcp("example.org".to_owned(), 10809));
/// assert_eq!(url.export, "my disk");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    /// The server.
    pub address: Address,
    /// The export's name; empty for the default one.
    pub export: String,
}

impl FromStr for Url {
    type Err = Error;

    fn from_str(url: &str) -> Result<Url, Error> {
        parse(url).map_err(|reason| Error::Address { url: url.to_owned(), reason })
    }
}

fn parse(url: &str) -> Result<Url, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("it does not begin with nbd:// or nbd+unix://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, export) = rest.split_once('/').unwrap_or((rest, ""));
    let address = match scheme {
        "nbd" if query.is_empty() => tcp(authority)?,
        "nbd" => return Err("nbd:// takes no parameters"),
        "nbd+unix" if authority.is_empty() => Address::Unix(socket(query)?),
        "nbd+unix" => return Err("nbd+unix:// is followed by a third slash and the export's name"),
        "nbds" | "nbds+unix" => return Err("encryption is not supported"),
        _ => return Err("it does not begin with nbd:// or nbd+unix://"),
    };
    let export = String::from_utf8(decode(export)?).map_err(|_| "the export's name is not UTF-8")?;
    if export.len() > NAME_BYTES {
        return Err("the export's name is longer than 4096 bytes");
    }
    Ok(Url { address, export })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn tcp(authority: &str) -> Result<Address, &'static str> {
    if authority.contains('@') {
        return Err("users are not supported");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').ok_or("a bracket is not closed")?;
            let port = behind.strip_prefix(':').or(behind.is_empty().then_some(""));
            (host, port.ok_or("something other than a port follows the bracket")?)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let host = String::from_utf8(decode(host)?).map_err(|_| "the host's name is not UTF-8")?;
    if host.is_empty() {
        return Err("it names no host");
    }
    let port = match port {
        "" => PORT,
        port => port.parse().ok().filter(|port| *port != 0).ok_or("the port is no number from 1 to 65535")?,
    };
    Ok(Address::Tcp(host, port))
}

fn socket(query: &str) -> Result<PathBuf, &'static str> {
    let value = query.strip_prefix("socket=").ok_or("nbd+unix:// takes one parameter, socket=PATH")?;
    let path = decode(value)?;
    if path.is_empty() || path.contains(&0) {
        return Err("the socket's path is empty or has a zero in it");
    }
    Ok(PathBuf::from(OsString::from_vec(path)))
}

/// Turns `%41` into `A`.
fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                high.zip(low).map(|(high, low)| (high * 16 + low) as u8)
            }
            plain => Some(plain),
        };
        decoded.push(byte.ok_or("a percent sign is not followed by two hexadecimal digits")?);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, export: &str) -> Url {
        Url { address: Address::Tcp(host.to_owned(), port), export: export.to_owned() }
    }

    fn unix(path: &str, export: &str) -> Url {
        Url { address: Address::Unix(path.into()), export: export.to_owned() }
    }

    #[test]
    fn addresses_are_understood() {
        for (url, expected) in [
            ("nbd://host", tcp("host", 10_809, "")),
            ("nbd://host/", tcp("host", 10_809, "")),
            ("nbd://host:1/a/b", tcp("host", 1, "a/b")),
            ("nbd://host//a", tcp("host", 10_809, "/a")),
            ("nbd://[::1]/x", tcp("::1", 10_809, "x")),
            ("nbd://[::1]:65535/%c3%A4", tcp("::1", 65_535, "ä")),
            ("nbd+unix:///?socket=/run/a", unix("/run/a", "")),
            ("nbd+unix:///disk%3F?socket=a%20b", unix("a b", "disk?")),
        ] {
            assert_eq!(url.parse::<Url>().unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        for (url, reason) in [
            ("/dev/sda", "does not begin"),
            ("http://host/x", "does not begin"),
            ("nbds://host/x", "encryption"),
            ("nbd:///x", "no host"),
            ("nbd://host:0/x", "port"),
            ("nbd://host:65536/x", "port"),
            ("nbd://[::1/x", "bracket"),
            ("nbd://[::1]1/x", "bracket"),
            ("nbd://host/x?socket=/a", "parameters"),
            ("nbd://me@host/x", "users"),
            ("nbd+unix:///x", "socket=PATH"),
            ("nbd+unix:///x?socket=", "empty"),
            ("nbd+unix://host/x?socket=/a", "third slash"),
            ("nbd://host/%4", "percent"),
            ("nbd://host/%zz", "percent"),
            ("nbd://host/%ff", "UTF-8"),
        ] {
            let text = url.parse::<Url>().unwrap_err().to_string();
            assert!(text.contains(reason) && text.contains(url), "{url}: {text}");
        }
    }
}
