//! Words that source files must not say, by the room they stand in.

use super::imports::below_control;
use super::{File, Finding};

/// The rooms that may say `unsafe`.
const UNSAFE_ROOMS: [&str; 5] = ["parity", "runtime", "block", "ublk", "vhost"];

/// The one place below `control` that knows the world's clock: the drivers that hand it out.
const CLOCK_KEEPERS: &str = "crates/runtime/src/os/";

/// Checks one file, if it is a Rust file of a crate.
pub fn check(file: &File) -> Vec<Finding> {
    let Some((room, rest)) = file.path.strip_prefix("crates/").and_then(|path| path.split_once('/')) else {
        return Vec::new();
    };
    if !rest.ends_with(".rs") {
        return Vec::new();
    }
    // Tests may keep time and sets: they are not what the simulator replays.
    let replayed = below_control(room) && rest.starts_with("src/") && !rest.ends_with("tests.rs");
    let mut findings = Vec::new();
    let mut in_tests = false;
    for (number, line) in (1..).zip(file.text.lines()) {
        in_tests |= line.trim() == "#[cfg(test)]" && starts_test_module(&file.text, number);
        let code = code_of(line);
        let mut find = |rule: String| findings.push(Finding::new(format!("{}:{number}", file.path), rule));
        if !UNSAFE_ROOMS.contains(&room) && says(&code, "unsafe") {
            find(format!("`unsafe` is not for {room}"));
        }
        if !replayed || in_tests {
            continue;
        }
        for word in ["HashMap", "HashSet"].into_iter().filter(|word| says(&code, word)) {
            find(format!("{word} has no order that a seed fixes: use BTreeMap, BTreeSet or a slab"));
        }
        if !file.path.starts_with(CLOCK_KEEPERS) {
            for clock in ["Instant::now", "SystemTime::now"].into_iter().filter(|clock| code.contains(clock))
            {
                find(format!("{clock} is the world's clock: below `control` time comes from the driver"));
            }
        }
    }
    findings
}

/// Whether the line after line `number` opens the module of tests, which ends the file.
fn starts_test_module(text: &str, number: usize) -> bool {
    text.lines().nth(number).is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
}

/// A line without its comment and without what stands in string literals.
fn code_of(line: &str) -> String {
    let mut code = String::with_capacity(line.len());
    let (mut in_string, mut escaped) = (false, false);
    for (at, letter) in line.char_indices() {
        match (in_string, letter) {
            (false, '/') if line[at..].starts_with("//") => break,
            (false, '"') => in_string = true,
            (true, _) if escaped => escaped = false,
            (true, '\\') => escaped = true,
            (true, '"') => in_string = false,
            (true, _) => {}
            (false, _) => code.push(letter),
        }
    }
    code
}

/// Whether `word` stands in `code` as a whole word.
fn says(code: &str, word: &str) -> bool {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|each| each == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        check(&file).into_iter().map(|finding| finding.place).collect()
    }

    #[test]
    fn clocks_and_unordered_maps_are_found_below_control() {
        let text = "use std::collections::HashMap;\nlet now = Instant::now();\n";
        assert_eq!(
            findings("crates/md/src/sync.rs", text),
            ["crates/md/src/sync.rs:1", "crates/md/src/sync.rs:2"]
        );
        assert!(findings("crates/control/src/lib.rs", text).is_empty());
        assert!(findings("crates/md/tests/speed.rs", text).is_empty());
        assert_eq!(findings("crates/runtime/src/os/mod.rs", text), ["crates/runtime/src/os/mod.rs:1"]);
    }

    #[test]
    fn comments_strings_and_tests_may_say_what_they_like() {
        let text = "// no HashMap\nlet s = \"a \\\" HashMap\"; // Instant::now\n#[cfg(test)]\nmod tests {\nHashMap\n}\n";
        assert!(findings("crates/md/src/lib.rs", text).is_empty());
        assert_eq!(findings("crates/md/src/lib.rs", "#[cfg(test)]\nmod tests;\nHashMap").len(), 1);
    }

    #[test]
    fn the_word_is_for_its_rooms_alone() {
        assert_eq!(findings("crates/md/src/lib.rs", "unsafe { x }").len(), 1);
        assert!(findings("crates/block/src/buffer.rs", "unsafe { x }").is_empty());
        assert!(findings("crates/md/src/lib.rs", "#![deny(unsafe_code)]").is_empty());
    }
}
