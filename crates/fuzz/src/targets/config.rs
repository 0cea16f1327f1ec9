//! The TOML file that says what to serve.

use control::Config;
use runtime::sim::Random;

use crate::mutate::damage_text;
use crate::require;

const WHOLE: &str = r#"version = 1
name = "data"
members = ["/dev/sdb", "./c.img", "nbd+unix:///x?socket=/run/x.sock"]
nbd = ["./data.sock", "127.0.0.1:10809", "[::1]:10809"]
nbd-anywhere = false
degraded = true
read-only = false
sole-writer = false
accept-stale = false
layout = "alternate"
"#;

/// It is read, or refused with words; URLs among the members too.
pub fn play(mut random: Random) -> Result<(), String> {
    let mut bytes = WHOLE.as_bytes().to_vec();
    damage_text(&mut random, &mut bytes);
    match toml::from_str::<Config>(&String::from_utf8_lossy(&bytes)) {
        Ok(config) => {
            config.members.iter().for_each(|member| drop(member.parse::<nbd::Url>()));
            Ok(())
        }
        Err(error) => require(!error.to_string().is_empty(), || "an error without words".into()),
    }
}
