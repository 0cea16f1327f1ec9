//! Remote members: NBD exports, by their URLs.

use std::rc::Rc;

use anyhow::{Context, Result, bail};
use control::Hold;
use nbd::{Client, Url};
use runtime::Address;
use runtime::os::{OpenMode, Os, connect};

use crate::members::{How, Member};

/// Whether a member's name is a URL.
pub fn is_url(name: &str) -> bool {
    name.contains("://")
}

/// What is the same for two URLs of one export, as far as their text tells.
pub fn identity(url: &str) -> Option<String> {
    let url: Url = url.parse().ok()?;
    Some(format!("{}/{}", url.address, url.export))
}

/// Connects to an export. For writing it must offer flushes, or nothing would ever be known to be durable; and over
/// TCP nothing keeps others from writing to it too, so that somebody has to promise it.
pub async fn open(os: &Rc<Os>, name: &str, how: How) -> Result<Member> {
    let url: Url = name.parse()?;
    let writing = how.mode == OpenMode::Write;
    if writing && matches!(url.address, Address::Tcp(..)) && !how.sole_writer {
        bail!(
            "{name}: nothing keeps others from writing to a remote disk too; --sole-writer promises that nobody does"
        );
    }
    let stream = connect(os, &url.address).with_context(|| format!("{name}: connecting"))?;
    let client = Client::connect(stream, &url.export).await.with_context(|| name.to_owned())?;
    let device = client.device();
    if writing && device.geometry().read_only {
        bail!("{name}: the server exports it read-only; --read-only serves it so");
    }
    if writing && !client.offers().flush {
        bail!("{name}: the server offers no flush, so nothing written to it is ever known to be durable");
    }
    Ok(Member { name: name.to_owned(), hold: Hold::new(device, client), is_direct: true })
}
