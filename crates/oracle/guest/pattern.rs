//! The guest's `pattern` command: writes or checks deterministic content on a device.
//!
//!     pattern fill  DEVICE [OFFSET [LENGTH [SEED]]]
//!     pattern check DEVICE [OFFSET [LENGTH [SEED]]]
//!     pattern scatter DEVICE [COUNT [_ [SEED]]]
//!
//! OFFSET and LENGTH are whole sectors and take the suffixes k, m and g; a length of 0, or none, is all the rest.
//! `fill` returns after the data is durable, and so does `scatter`, which writes COUNT single sectors all over the device, one
//! by one and past the page cache. `check` prints the first byte that differs and ends with status 1.

#[allow(dead_code)] // the host's side of the file
#[path = "../src/pattern.rs"]
mod pattern;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;

const CHUNK_BYTES: u64 = 256 << 10;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match act(&words) {
        Ok(status) => status,
        Err(reason) => {
            eprintln!("pattern: {reason}");
            ExitCode::from(2)
        }
    }
}

fn act(words: &[String]) -> Result<ExitCode, String> {
    let [verb, device, numbers @ ..] = words else {
        return Err("usage: pattern fill|check|scatter DEVICE ...".into());
    };
    let number = |i: usize| numbers.get(i).map_or(Ok(0), |text| size(text));
    let (offset, length, seed) = (number(0)?, number(1)?, number(2)?);
    if verb == "scatter" {
        return scatter(device, offset, seed).map_err(|error| format!("{device}: {error}"));
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(verb == "fill")
        .open(device)
        .map_err(|error| format!("{device}: {error}"))?;
    // A block device has no length in its metadata, but its end can be sought.
    let device_bytes = file.seek(SeekFrom::End(0)).map_err(|error| format!("{device}: {error}"))?;
    let end = if length == 0 { device_bytes } else { offset + length };
    if end > device_bytes || offset % pattern::SECTOR_BYTES as u64 != 0 {
        return Err(format!(
            "{device} has {device_bytes} bytes; {offset}..{end} is not a range of its sectors"
        ));
    }
    file.seek(SeekFrom::Start(offset)).map_err(|error| format!("{device}: {error}"))?;
    match verb.as_str() {
        "fill" => fill(&mut file, offset, end, seed).map_err(|error| format!("{device}: {error}")),
        "check" => check(&mut file, offset, end, seed).map_err(|error| format!("{device}: {error}")),
        other => Err(format!("`{other}` is neither fill nor check")),
    }
}

fn scatter(device: &str, count: u64, seed: u64) -> std::io::Result<ExitCode> {
    const O_DIRECT: i32 = 0x4000;
    const ALIGNED: usize = 4096;
    let mut file = OpenOptions::new().read(true).write(true).custom_flags(O_DIRECT).open(device)?;
    let sectors = file.seek(SeekFrom::End(0))? / pattern::SECTOR_BYTES as u64;
    let mut room = vec![0; 2 * ALIGNED];
    let start = room.as_ptr().align_offset(ALIGNED);
    let buffer = &mut room[start..start + pattern::SECTOR_BYTES];
    for number in 0..count {
        let sector = pattern::word(seed, number) % sectors;
        pattern::fill(buffer, sector, seed);
        file.seek(SeekFrom::Start(sector * pattern::SECTOR_BYTES as u64))?;
        file.write_all(buffer)?;
    }
    file.sync_all()?;
    Ok(ExitCode::SUCCESS)
}

fn fill(file: &mut File, offset: u64, end: u64, seed: u64) -> std::io::Result<ExitCode> {
    for (at, bytes) in chunks(offset, end) {
        let mut buffer = vec![0; bytes];
        pattern::fill(&mut buffer, at / pattern::SECTOR_BYTES as u64, seed);
        file.write_all(&buffer)?;
    }
    file.sync_all()?;
    Ok(ExitCode::SUCCESS)
}

fn check(file: &mut File, offset: u64, end: u64, seed: u64) -> std::io::Result<ExitCode> {
    // A member may be cached as it was before the array above it wrote: compare what the disk holds. Where the
    // file is absent (no guest, no /proc) there is no array either.
    std::fs::write("/proc/sys/vm/drop_caches", "1").ok();
    for (at, bytes) in chunks(offset, end) {
        let mut buffer = vec![0; bytes];
        file.read_exact(&mut buffer)?;
        if let Err(byte) = pattern::check(&buffer, at / pattern::SECTOR_BYTES as u64, seed) {
            println!("differs at byte {byte}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn chunks(offset: u64, end: u64) -> impl Iterator<Item = (u64, usize)> {
    (offset..end).step_by(CHUNK_BYTES as usize).map(move |at| (at, CHUNK_BYTES.min(end - at) as usize))
}

fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 10),
        Some(b'm') => (&text[..text.len() - 1], 20),
        Some(b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().map(|number| number << shift).map_err(|_| format!("`{text}` is no number"))
}
