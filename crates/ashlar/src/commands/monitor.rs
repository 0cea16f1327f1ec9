//! `ashlar monitor`: tells what happens to what runs.

use std::io::{self, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use control::{
    API_VERSION, Alert, Client, Delivery, Lookout, Place, Receivers, Rules, StackStatus, check_address,
    running,
};
use serde::Serialize;

use super::status::place;
use crate::Usage;
use crate::cli::{self, Telling};
use crate::dirs;
use crate::text::date;

/// How long a stack may take to answer: the others wait meanwhile.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// An event as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    api_version: u32,
    time_s: u64,
    event: String,
    stack: &'a str,
    array: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
}

/// Runs the command.
pub fn run(args: &cli::Monitor) -> Result<()> {
    let dir = dirs::run_dir(args.run_dir.run_dir.as_deref())?;
    let receivers = receivers(&args.telling)?;
    // Who looks once wants to see it; who goes on looking may wait for it.
    let named = |name: &String| if args.once { place(&dir, name) } else { Ok(Place::new(&dir, name)?) };
    let places = args.names.iter().map(named).collect::<Result<Vec<Place>>>()?;
    let rules = Rules { increment: args.increment, spares: args.telling.spares, test: args.test };
    let delivery = match receivers.is_any() {
        true => Some(Delivery::start(receivers, complain).context("alerts cannot be delivered")?),
        false => None,
    };
    let mut lookout = Lookout::default();
    loop {
        let now = if places.is_empty() { everything(&dir, &lookout)? } else { places.clone() };
        for place in now {
            let status = match look(&place) {
                Ok(status) => status,
                Err(error) => {
                    // It runs and does not say how it stands: nothing can be told of it before it does.
                    complain(&format!("{}: {error:#}", place.name()));
                    continue;
                }
            };
            for alert in lookout.look(place.name(), status, &rules) {
                let is_read = say(&alert, place.name(), args.json.json)?;
                if !is_read && delivery.is_none() {
                    return Ok(()); // nobody is told any more
                }
                if let Some(delivery) = &delivery
                    && !delivery.send(alert, lookout.mdstat())
                {
                    complain("an event was not delivered, as too many wait already");
                }
            }
        }
        lookout.has_looked();
        if args.once {
            break;
        }
        sleep(Duration::from_secs(args.delay));
    }
    if let Some(delivery) = delivery {
        delivery.finish();
    }
    Ok(())
}

/// Who is told, if that can be.
pub fn receivers(telling: &Telling) -> Result<Receivers> {
    if let Some(address) = &telling.mail {
        check_address(address).map_err(|why| Usage(format!("--mail: {why}")))?;
    }
    Ok(Receivers { program: telling.program.clone(), mail: telling.mail.clone() })
}

/// What goes wrong while somebody is told, on standard error.
pub fn complain(text: &str) {
    eprintln!("ashlar: warning: {text}");
}

/// Everything that runs, and everything that ran at the last look.
fn everything(dir: &Path, lookout: &Lookout) -> Result<Vec<Place>> {
    let mut places = running(dir)?;
    for name in lookout.names() {
        if !places.iter().any(|place| place.name() == name) {
            places.push(Place::new(dir, &name)?);
        }
    }
    Ok(places)
}

/// How a stack stands; none if it does not run.
fn look(place: &Place) -> Result<Option<StackStatus>> {
    if !place.is_taken() {
        return Ok(None);
    }
    match Client::new(&place.socket()).within(ANSWER_WITHIN).status() {
        Ok(status) => Ok(Some(status)),
        Err(_) if !place.is_taken() => Ok(None), // it ended in between
        Err(error) => Err(error.into()),
    }
}

/// Now, in seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Says it on standard output; false if nobody reads that any more.
fn say(alert: &Alert, stack: &str, json: bool) -> Result<bool> {
    let time_s = now_s();
    let (event, array, member) = (alert.kind.to_string(), alert.array.as_str(), alert.member.as_deref());
    let line = match json {
        true => {
            serde_json::to_string(&Line { api_version: API_VERSION, time_s, event, stack, array, member })?
        }
        false => format!("{}: {alert}", date(time_s)),
    };
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => Ok(written.map(|()| true)?),
    }
}
