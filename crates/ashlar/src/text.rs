//! Sizes, names and tables as people read and type them.

pub use control::bcache_uuid as uuid;
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Prints on standard output. Whoever reads it may have seen enough and gone: that is no failure.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints a document as JSON.
pub fn print_json(document: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    Ok(print(&(text + "\n"))?)
}

/// Reads a size in bytes: a number, with `K`, `M`, `G` or `T` behind it for powers of 1024 (`s` for sectors of 512).
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("{text:?} is no size: expected a number, with K, M, G, T or s (sectors of 512) behind it");
    let number = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[number.len()..].trim_end_matches("iB") {
        "" | "B" => 1,
        "s" => 512,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        "t" | "T" => 1u64 << 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).ok_or_else(|| format!("{text:?} is more bytes than 64 bits can count"))
}

/// A number of bytes for people: the largest unit that leaves a number of at least one, and two decimals at most.
pub fn size(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    let one = 1u64 << (10 * unit);
    if bytes.is_multiple_of(one) {
        return format!("{} {}", bytes / one, units[unit]);
    }
    let hundredths = u128::from(bytes % one) * 100 / u128::from(one);
    let text = format!("{}.{hundredths:02}", bytes / one);
    format!("{} {}", text.trim_end_matches('0').trim_end_matches('.'), units[unit])
}

/// The same for a number of sectors, however large a disk says it is.
pub fn sectors(sectors: u64) -> String {
    match sectors.checked_mul(512) {
        Some(bytes) => size(bytes),
        None => format!("{sectors} sectors"),
    }
}

/// Bytes of a name in a form that is printed safely on one line, and typed back: printable characters as they are, all
/// others and the backslash as `\xNN`.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let hex = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            let _ = write!(text, "\\x{byte:02x}"); // a String takes everything
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c.is_control() || c == '\\' {
                true => hex(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
                false => text.push(c),
            }
        }
        hex(&mut text, chunk.invalid());
    }
    text
}

/// A moment in seconds since 1970 as `2026-11-22 04:17:33 UTC`.
pub fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a day counted from 1970-01-01, by counting in eras of 400 years that begin on 1 March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + next, month, day)
}

/// Facts as aligned lines: label, value.
#[derive(Default)]
pub struct Facts {
    lines: Vec<(&'static str, String)>,
}

impl Facts {
    /// Adds a line.
    pub fn add(&mut self, label: &'static str, value: impl ToString) {
        self.lines.push((label, value.to_string()));
    }

    /// Adds a line if there is a value.
    pub fn add_some(&mut self, label: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.add(label, value);
        }
    }

    /// The lines, indented by two.
    pub fn render(&self) -> String {
        let width = self.lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        let lines = self.lines.iter();
        lines.map(|(label, value)| format!("  {label:width$}  {value}\n")).collect()
    }
}

/// A bar of `width` characters, filled to `part` of 1.
pub fn bar(part: f64, width: usize) -> String {
    let filled = (part.clamp(0.0, 1.0) * width as f64) as usize;
    let head = usize::from(filled < width);
    format!("[{}{}{}]", "=".repeat(filled), ">".repeat(head), ".".repeat(width - filled - head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("64K"), Ok(65536));
        assert_eq!(parse_size("1MiB"), Ok(1 << 20));
        assert_eq!(parse_size("8s"), Ok(4096));
        assert_eq!(parse_size("2T"), Ok(2 << 40));
        for wrong in ["", "K", "-1", "1.5G", "1X", "99999999999T"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(512), "512 bytes");
        assert_eq!(size(7 << 20), "7 MiB");
        assert_eq!(size((7 << 20) + (1 << 19)), "7.5 MiB");
        assert_eq!(size(u64::MAX), "15.99 EiB");
        assert_eq!(sectors(u64::MAX), "18446744073709551615 sectors");
    }

    #[test]
    fn a_name_that_could_break_a_line_is_escaped() {
        assert_eq!(escape(b"plain name"), "plain name");
        assert_eq!(escape("größe".as_bytes()), "größe");
        assert_eq!(escape(b"two\nlines\\\xff"), "two\\x0alines\\x5c\\xff");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_827_696), "2000-02-29 12:34:56 UTC");
        assert_eq!(date(1_795_321_053), "2026-11-22 04:17:33 UTC");
    }

    #[test]
    fn a_bar_is_as_wide_as_asked() {
        assert_eq!(bar(0.0, 4), "[>...]");
        assert_eq!(bar(0.5, 4), "[==>.]");
        assert_eq!(bar(1.0, 4), "[====]");
    }
}
