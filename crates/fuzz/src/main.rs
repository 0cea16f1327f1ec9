//! Plays cases: `fuzz --seconds 20`, longer with more, or one again: `fuzz --target assembly --seed 17`.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use fuzz::{TARGETS, Target};
use runtime::sim::Random;

/// A case that takes longer hangs. Most take less than a millisecond, the longest some tenths of a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Cases between two looks at the clock.
const BATCH: u64 = 16;

/// Plays damaged bytes to everything that reads bytes of strangers, and says which made it fall.
#[derive(Parser)]
struct Arguments {
    /// How long, over all targets.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
    /// Play this case alone.
    #[arg(long, requires = "target")]
    seed: Option<u64>,
    /// The first case, for runs that are to differ from earlier ones.
    #[arg(long, default_value_t = 0)]
    from: u64,
}

thread_local! {
    /// What the last panic said, and where.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The case that is being played, for the watchdog.
static PLAYING: Mutex<Option<(&'static str, u64, Instant)>> = Mutex::new(None);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted = |target: &&Target| arguments.target.as_deref().is_none_or(|name| name == target.name);
    let targets: Vec<&Target> = TARGETS.iter().filter(wanted).collect();
    if targets.is_empty() {
        let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("there is no such target; there are {}", known.join(", "));
        return ExitCode::from(2);
    }
    std::panic::set_hook(Box::new(|panic| {
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|asked| asked != "0") {
            eprintln!("{panic}\n{}", std::backtrace::Backtrace::force_capture());
        }
        SAID.set(panic.to_string().replace('\n', " "));
    }));
    std::thread::spawn(watch);
    let share = Duration::from_secs(arguments.seconds) / targets.len() as u32;
    let good = targets.iter().map(|target| match arguments.seed {
        Some(seed) => passes(target, seed),
        None => run(target, arguments.from, share),
    });
    // Every target is played, also after one has failed.
    if good.fold(true, |all, one| all & one) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays cases of a target until its time is over or one fails.
fn run(target: &Target, from: u64, share: Duration) -> bool {
    let (start, mut seed) = (Instant::now(), from);
    while start.elapsed() < share {
        for _ in 0..BATCH {
            if !passes(target, seed) {
                return false;
            }
            seed += 1;
        }
    }
    println!("fuzz: {}: {} cases", target.name, seed - from);
    true
}

fn passes(target: &Target, seed: u64) -> bool {
    *PLAYING.lock().expect("nobody panics with it") = Some((target.name, seed, Instant::now()));
    let played = catch_unwind(AssertUnwindSafe(|| (target.play)(Random::new(seed))));
    *PLAYING.lock().expect("nobody panics with it") = None;
    let what = match played {
        Ok(Ok(())) => return true,
        Ok(Err(broken)) => broken,
        Err(_) => SAID.take(),
    };
    println!("fuzz: {}: {what}\n  again: {}", target.name, again(target.name, seed));
    false
}

fn again(target: &str, seed: u64) -> String {
    format!("cargo xtask fuzz -- --target {target} --seed {seed}")
}

/// Ends the run when a case does not end.
fn watch() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let playing = *PLAYING.lock().expect("nobody panics with it");
        if let Some((target, seed, since)) = playing.filter(|(_, _, since)| since.elapsed() > PATIENCE) {
            println!(
                "fuzz: {target}: no end after {} s\n  again: {}",
                since.elapsed().as_secs(),
                again(target, seed)
            );
            std::process::exit(1);
        }
    }
}
