//! The guest's `load` command: writes files through the page cache, and takes memory.
//!
//!     load write FOLDER SECONDS WRITERS MIB PROCESS DEVICE
//!     load hog LEAVE_MIB
//!
//! `write` lets so many threads write a file of so many MiB each again and again, 64 KiB at a time, with an fsync every 32 MiB,
//! and reads every file back when it is full. It prints how it stands every ten seconds, and what was seen at the end, as
//! `name=value`: the memory of PROCESS is part of it, and the longest time in which DEVICE had requests and none of them ended.
//! `hog` takes all memory but LEAVE_MIB as fast as it can, keeps it for a while, gives it back, and begins again.

use std::fs::{File, OpenOptions, read_to_string};
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const BLOCK: usize = 64 << 10;

/// Blocks between two fsyncs.
const SYNC_BLOCKS: u64 = 512;

/// How often the watch looks. It sleeps otherwise, so what it is late by is the machine's own slowness.
const TICK: Duration = Duration::from_millis(100);

/// How often it is told how everything stands.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long the hog takes memory at most, how long it keeps it, and how long it does without.
const GROW: Duration = Duration::from_secs(90);
const HOLD: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(12);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let text = |at: usize| words.get(at).map(String::as_str);
    let done =
        match (text(0), number(1), number(2), number(3), number(4), text(5), text(6)) {
            (Some("hog"), Some(leave_mib), ..) => hog(leave_mib),
            (Some("write"), _, Some(seconds), Some(writers), Some(mib), Some(process), Some(device)) => {
                write(&words[1], Duration::from_secs(seconds), writers, mib, (process, device))
            }
            _ => Err("usage: load write FOLDER SECONDS WRITERS MIB PROCESS DEVICE, or load hog LEAVE_MIB"
                .to_owned()),
        };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("load: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What all writers have done.
struct Done {
    start: Instant,
    /// The longest call of one.
    write_ms: AtomicU64,
    sync_ms: AtomicU64,
    read_ms: AtomicU64,
    bytes: AtomicU64,
    over: AtomicBool,
}

impl Done {
    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Does something, and counts how long it takes.
    fn time<T>(&self, longest: &AtomicU64, act: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
        let begin = self.now_ms();
        let outcome = act()?;
        let end = self.now_ms();
        longest.fetch_max(end - begin, Ordering::Relaxed);
        Ok(outcome)
    }

    fn longest_ms(&self) -> u64 {
        [&self.write_ms, &self.sync_ms, &self.read_ms]
            .map(|longest| longest.load(Ordering::Relaxed))
            .into_iter()
            .max()
            .unwrap_or(0)
    }
}

fn write(folder: &str, time: Duration, writers: u64, mib: u64, watched: (&str, &str)) -> Result<(), String> {
    let zero = AtomicU64::default;
    let done = Done {
        start: Instant::now(),
        write_ms: zero(),
        sync_ms: zero(),
        read_ms: zero(),
        bytes: zero(),
        over: AtomicBool::new(false),
    };
    let failed = thread::scope(|scope| {
        let handles: Vec<_> = (0..writers)
            .map(|number| {
                let (done, path) = (&done, format!("{folder}/file-{number}"));
                scope.spawn(move || {
                    one_writer(done, &path, number, mib).map_err(|error| format!("{path}: {error}"))
                })
            })
            .collect();
        watch(&done, time, watched);
        done.over.store(true, Ordering::Relaxed);
        handles.into_iter().find_map(|handle| handle.join().expect("a writer does not panic").err())
    });
    let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
    println!("result written_mib={}", read(&done.bytes) >> 20);
    println!("result longest_write_ms={}", read(&done.write_ms));
    println!("result longest_sync_ms={}", read(&done.sync_ms));
    println!("result longest_read_ms={}", read(&done.read_ms));
    failed.map_or(Ok(()), Err)
}

fn one_writer(done: &Done, path: &str, number: u64, mib: u64) -> std::io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    let (mut bytes, mut back) = (vec![0; BLOCK], vec![0; BLOCK]);
    let blocks = (mib << 20) / BLOCK as u64;
    for pass in 0.. {
        file.seek(SeekFrom::Start(0))?;
        for block in 0..blocks {
            if done.over.load(Ordering::Relaxed) {
                return file.sync_all();
            }
            fill(&mut bytes, number, pass, block);
            done.time(&done.write_ms, || file.write_all(&bytes))?;
            done.bytes.fetch_add(BLOCK as u64, Ordering::Relaxed);
            if block % SYNC_BLOCKS == SYNC_BLOCKS - 1 {
                done.time(&done.sync_ms, || file.sync_data())?;
            }
        }
        done.time(&done.sync_ms, || file.sync_data())?;
        file.seek(SeekFrom::Start(0))?;
        for block in 0..blocks {
            if done.over.load(Ordering::Relaxed) {
                return file.sync_all();
            }
            fill(&mut bytes, number, pass, block);
            done.time(&done.read_ms, || file.read_exact(&mut back))?;
            if bytes != back {
                return Err(std::io::Error::other(format!(
                    "block {block} of pass {pass} is not what was written"
                )));
            }
        }
    }
    Ok(())
}

/// Other bytes in every block of every pass.
fn fill(bytes: &mut [u8], number: u64, pass: u64, block: u64) {
    let mut state = (number << 48 ^ pass << 24 ^ block).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
}

/// A device's requests.
struct Requests {
    stat: String,
    ended: u64,
    since: Instant,
    longest_ms: u128,
}

impl Requests {
    fn look(&mut self) {
        let text = read_to_string(&self.stat).unwrap_or_default();
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
        // Reads, writes, discards and flushes that have ended; what is in flight (Documentation/block/stat.rst).
        let ended = number(0) + number(4) + number(11) + number(15);
        if ended != self.ended || number(8) == 0 {
            (self.ended, self.since) = (ended, Instant::now());
        }
        self.longest_ms = self.longest_ms.max(self.since.elapsed().as_millis());
    }
}

/// Looks at the machine until the time is over.
fn watch(done: &Done, time: Duration, (process, device): (&str, &str)) {
    let (mut late_ms, mut least_kib, mut most_dirty_kib, mut told) = (0, u64::MAX, 0, Instant::now());
    let stat = format!("/sys/block/{device}/stat");
    let mut requests = Requests { stat, ended: 0, since: Instant::now(), longest_ms: 0 };
    while done.start.elapsed() < time {
        let before = Instant::now();
        thread::sleep(TICK);
        late_ms = late_ms.max((before.elapsed().saturating_sub(TICK)).as_millis());
        requests.look();
        let memory = read_to_string("/proc/meminfo").unwrap_or_default();
        let (available, dirty) = (field(&memory, "MemAvailable:"), field(&memory, "Dirty:"));
        (least_kib, most_dirty_kib) = (least_kib.min(available), most_dirty_kib.max(dirty));
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            println!(
                "{} s: {} MiB written, longest stall {} ms, longest call {} ms, available {} MiB, dirty {} MiB{}",
                done.start.elapsed().as_secs(),
                done.bytes.load(Ordering::Relaxed) >> 20,
                requests.longest_ms,
                done.longest_ms(),
                available >> 10,
                dirty >> 10,
                of_process(process)
            );
        }
    }
    println!("result late_ms={late_ms}");
    println!("result longest_stall_ms={}", requests.longest_ms);
    println!("result least_available_kib={least_kib}");
    println!("result most_dirty_kib={most_dirty_kib}");
    println!("result process={}", of_process(process).trim_start_matches(", "));
}

fn of_process(process: &str) -> String {
    let status = read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    if status.is_empty() {
        return ", the server is gone".to_owned();
    }
    format!(
        ", server {} MiB resident, {} MiB locked",
        field(&status, "VmRSS:") >> 10,
        field(&status, "VmLck:") >> 10
    )
}

/// A number of KiB in what the kernel shows.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn available_mib() -> u64 {
    let mut text = [0; 4096];
    let read = File::open("/proc/meminfo").and_then(|mut file| file.read(&mut text)).unwrap_or(0);
    field(&String::from_utf8_lossy(&text[..read]), "MemAvailable:") >> 10
}

fn hog(leave_mib: u64) -> Result<(), String> {
    loop {
        let mut taken: Vec<Vec<u8>> = Vec::with_capacity(4096);
        let begin = Instant::now();
        while available_mib() > leave_mib && begin.elapsed() < GROW {
            taken.push(vec![1; 4 << 20]);
        }
        thread::sleep(HOLD);
        drop(taken);
        thread::sleep(REST);
    }
}
