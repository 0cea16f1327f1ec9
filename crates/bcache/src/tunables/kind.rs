//! What values of tunables are, and how they are typed.

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Bytes; typed with K, M, G or T behind the number, too.
    Bytes,
    /// Sectors of 512 bytes, a second.
    SectorsPerSecond,
    /// Seconds.
    Seconds,
    /// Thousandths of them.
    Milliseconds,
    /// Millionths of them.
    Microseconds,
    /// Hundredths of a whole.
    Percent,
    /// A number of something.
    Count,
    /// Whether or not: 1 or 0.
    Flag,
    /// One of several words; the value is its place among them.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// The value that was typed, if it is one.
    pub fn read(self, text: &str) -> Option<u64> {
        let text = text.trim();
        match self {
            Kind::Bytes => bytes(text),
            Kind::Flag => match text {
                "1" | "on" | "true" | "yes" => Some(1),
                "0" | "off" | "false" | "no" => Some(0),
                _ => None,
            },
            Kind::Choice(words) => words.iter().position(|word| *word == text).map(|at| at as u64),
            _ => number(text),
        }
    }

    /// A value as it is typed.
    pub fn show(self, value: u64) -> String {
        match self {
            Kind::Bytes => {
                let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
                let unit = units.iter().find(|(_, bits)| value > 0 && value.trailing_zeros() >= *bits);
                unit.map_or(value.to_string(), |(unit, bits)| format!("{}{unit}", value >> bits))
            }
            Kind::Choice(words) => {
                let word = usize::try_from(value).ok().and_then(|at| words.get(at));
                word.map_or(value.to_string(), |word| (*word).to_owned())
            }
            _ => value.to_string(),
        }
    }

    /// One word for documents.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Bytes => "bytes",
            Kind::SectorsPerSecond => "sectors_per_second",
            Kind::Seconds => "seconds",
            Kind::Milliseconds => "milliseconds",
            Kind::Microseconds => "microseconds",
            Kind::Percent => "percent",
            Kind::Count => "count",
            Kind::Flag => "flag",
            Kind::Choice(_) => "choice",
        }
    }

    /// What may be typed, in words.
    pub fn expected(self, least: u64, most: u64) -> String {
        let what = match self {
            Kind::Flag => return "0 or 1".to_owned(),
            Kind::Choice(words) => return format!("one of {}", words.join(", ")),
            Kind::Bytes => "a number of bytes (with K, M, G or T behind it)",
            Kind::SectorsPerSecond => "a number of sectors of 512 bytes",
            Kind::Seconds => "a number of seconds",
            Kind::Milliseconds => "a number of milliseconds",
            Kind::Microseconds => "a number of microseconds",
            Kind::Percent => "a number of percent",
            Kind::Count => "a number",
        };
        format!("{what} from {} to {}", self.show(least), self.show(most))
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let bits = match text[digits.len()..].trim_end_matches("iB") {
        "" | "B" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return None,
    };
    number(digits)?.checked_mul(1 << bits)
}

/// Digits, and nothing else: no sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
