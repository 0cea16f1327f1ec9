//! What is done to whoever is measured.

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// 4 KiB random reads, one at a time.
    Read4kQd1,
    /// 4 KiB random reads, 32 at a time.
    Read4kQd32,
    /// The same with a member failed.
    DegradedRead4kQd32,
    /// 4 KiB random writes, one at a time.
    Write4kQd1,
    /// 4 KiB random writes, 32 at a time.
    Write4kQd32,
    /// 128 KiB sequential reads, 8 at a time.
    Read128k,
    /// The same with a member failed.
    DegradedRead128k,
    /// 128 KiB sequential writes, 8 at a time.
    Write128k,
    /// 1 MiB sequential reads, 8 at a time.
    Read1m,
    /// The same with a member failed.
    DegradedRead1m,
    /// 1 MiB sequential writes, 8 at a time.
    Write1m,
    /// Whole stripes, written one after the other, 8 at a time.
    Stripes,
}

/// Requests as fio and our own load understand them.
#[derive(Clone, Copy)]
pub struct Shape {
    /// `randread`, `randwrite`, `read` or `write`.
    pub pattern: &'static str,
    /// KiB of a request.
    pub kib: u32,
    /// Requests at a time.
    pub depth: u32,
}

impl Job {
    /// For an NBD server, in the order of the report.
    pub const NBD: [Job; 6] =
        [Job::Read4kQd1, Job::Read4kQd32, Job::Write4kQd1, Job::Write4kQd32, Job::Read128k, Job::Write128k];

    /// For an array whose members are all there.
    pub const HEALTHY: [Job; 8] = [
        Job::Read4kQd32,
        Job::Write4kQd32,
        Job::Write4kQd1,
        Job::Read128k,
        Job::Write128k,
        Job::Read1m,
        Job::Write1m,
        Job::Stripes,
    ];

    /// For an array that has lost one.
    pub const DEGRADED: [Job; 3] = [Job::DegradedRead4kQd32, Job::DegradedRead128k, Job::DegradedRead1m];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Job::Read4kQd1 => "read 4K QD1",
            Job::Read4kQd32 => "read 4K QD32",
            Job::DegradedRead4kQd32 => "degraded read 4K QD32",
            Job::Write4kQd1 => "write 4K QD1",
            Job::Write4kQd32 => "write 4K QD32",
            Job::Read128k => "read 128K QD8",
            Job::DegradedRead128k => "degraded read 128K QD8",
            Job::Write128k => "write 128K QD8",
            Job::Read1m => "read 1M QD8",
            Job::DegradedRead1m => "degraded read 1M QD8",
            Job::Write1m => "write 1M QD8",
            Job::Stripes => "whole stripes QD8",
        }
    }

    /// The same job with a member failed, if it is measured.
    pub fn degraded(self) -> Option<Job> {
        match self {
            Job::Read4kQd32 => Some(Job::DegradedRead4kQd32),
            Job::Read128k => Some(Job::DegradedRead128k),
            Job::Read1m => Some(Job::DegradedRead1m),
            _ => None,
        }
    }

    /// Its requests; a stripe is as long as four chunks of 64 KiB, which is btrfs's only size.
    pub fn shape(self) -> Shape {
        let (pattern, kib, depth) = match self {
            Job::Read4kQd1 => ("randread", 4, 1),
            Job::Read4kQd32 | Job::DegradedRead4kQd32 => ("randread", 4, 32),
            Job::Write4kQd1 => ("randwrite", 4, 1),
            Job::Write4kQd32 => ("randwrite", 4, 32),
            Job::Read128k | Job::DegradedRead128k => ("read", 128, 8),
            Job::Write128k => ("write", 128, 8),
            Job::Read1m | Job::DegradedRead1m => ("read", 1024, 8),
            Job::Write1m => ("write", 1024, 8),
            Job::Stripes => ("write", 256, 8),
        };
        Shape { pattern, kib, depth }
    }
}
