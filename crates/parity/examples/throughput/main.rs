//! How fast the arithmetic is beside ISA-L, hot in the cache: `cargo run --release -p parity --example throughput`.
//!
//! Each round does every job by every implementation, one straight after the other, on the same buffers; a ratio is the
//! median of the rounds' own ratios to ISA-L, so that a machine that is faster or slower for a while does not matter.
//! ISA-L (Debian: libisal2) is loaded while this runs, and left out if it is not there.
//!
//! Words: the number of rounds (301), and `all` for every implementation, not only the best.

mod isal;

use std::hint::black_box;
use std::time::Instant;

use isal::Isal;
use parity::{Data, Kernels, Parity};

/// Data blocks, and bytes of each.
const SHAPES: [(usize, usize); 8] = [(4, 4), (8, 4), (16, 4), (4, 16), (8, 16), (16, 16), (8, 64), (4, 64)];

/// Places for the blocks of the widest stripe and four more.
const BLOCKS_MAX: usize = 20;

/// How often a job is done between two looks at the clock; its lists of blocks are made once for all of them.
const BATCH: usize = 16;

/// How long one job runs in one round: short beside what else the machine does, so that most rounds are undisturbed.
const NANOSECONDS: u128 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Job {
    /// P.
    Xor,
    /// P and Q.
    Pq,
    /// Two data blocks from P, Q and the others.
    Two,
    /// P and Q by the difference of one block.
    Update,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let rounds = words.iter().find_map(|word| word.parse().ok()).unwrap_or(301);
    let mut isal = Isal::load();
    if isal.is_none() {
        println!("no libisal.so.2 here: figures without ratios");
    }
    let all = words.iter().any(|word| word == "all");
    let mut kernels: Vec<Kernels> = Kernels::all_available().skip(1).collect();
    if !all {
        kernels = vec![Kernels::best()];
    }
    println!(
        "{:24} {:>14} {:>11} {:>7}   GB/s of data, median; ratio to ISA-L, median (quartiles)",
        "", "", "GB/s", "ratio"
    );
    for (blocks, kib) in SHAPES {
        let mut stripe = Stripe::new(blocks, kib * 1024);
        if let Some(isal) = &mut isal {
            isal.prepare(&mut stripe);
        }
        for job in [Job::Xor, Job::Pq, Job::Two, Job::Update] {
            let mut rates = vec![Vec::new(); kernels.len()];
            let mut peer = Vec::new();
            for _ in 0..rounds {
                peer.extend(isal.as_mut().map(|isal| stripe.rate(job, |stripe| isal.work(job, stripe))));
                for (kernels, rates) in kernels.iter().zip(&mut rates) {
                    rates.push(stripe.rate(job, |stripe| work(*kernels, job, stripe)));
                }
            }
            let shape = format!("{job:?} {blocks} x {kib}K");
            if !peer.is_empty() {
                println!("{shape:24} {:>14} {:11.1}", "ISA-L", quantile(&mut peer.clone(), 0.5));
            }
            for (kernels, rates) in kernels.iter().zip(&mut rates) {
                let mut ratios: Vec<f64> = rates.iter().zip(&peer).map(|(own, peer)| own / peer).collect();
                print!("{shape:24} {:>14} {:11.1}", kernels.name(), quantile(rates, 0.5));
                if !ratios.is_empty() {
                    let [low, middle, high] = [0.25, 0.5, 0.75].map(|at| quantile(&mut ratios, at));
                    print!(" {middle:7.2}   ({low:.2}-{high:.2})");
                }
                println!();
            }
        }
    }
}

fn quantile(values: &mut [f64], at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * at) as usize]
}

/// A stripe in memory: the data blocks, P, Q, and two blocks to write to.
struct Stripe {
    memory: Vec<u8>,
    begin: usize,
    blocks: usize,
    len: usize,
}

impl Stripe {
    fn new(blocks: usize, len: usize) -> Stripe {
        let memory: Vec<u8> =
            (0..(blocks + 4) * len + 4096).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let begin = memory.as_ptr().align_offset(4096);
        let mut stripe = Stripe { memory, begin, blocks, len };
        work(Kernels::scalar(), Job::Pq, &mut stripe);
        stripe
    }

    /// P, Q, two more blocks, and how many data blocks are now in `data`.
    fn parts<'a>(&'a mut self, data: &mut [Data<'a>; BLOCKS_MAX]) -> ([&'a mut [u8]; 4], usize) {
        let (blocks, rest) = self.memory[self.begin..].split_at_mut(self.blocks * self.len);
        let (p, rest) = rest.split_at_mut(self.len);
        let (q, rest) = rest.split_at_mut(self.len);
        let (x, rest) = rest.split_at_mut(self.len);
        for ((index, block), place) in (0..).zip(blocks.chunks_exact(self.len)).zip(data) {
            *place = (index, block);
        }
        ([p, q, x, &mut rest[..self.len]], self.blocks)
    }

    /// GB of data a second.
    fn rate(&mut self, job: Job, mut work: impl FnMut(&mut Stripe)) -> f64 {
        let bytes = if job == Job::Update { self.len } else { self.blocks * self.len };
        let (start, mut times) = (Instant::now(), 0);
        while start.elapsed().as_nanos() < NANOSECONDS {
            work(black_box(self));
            times += BATCH;
        }
        (times * bytes) as f64 / start.elapsed().as_nanos() as f64
    }
}

/// One job by one of ours, a batch of times.
fn work(kernels: Kernels, job: Job, stripe: &mut Stripe) {
    let mut data: [Data<'_>; BLOCKS_MAX] = [(0, &[]); BLOCKS_MAX];
    let ([p, q, x, y], blocks) = stripe.parts(&mut data);
    let data = &mut data[..blocks];
    let last = blocks - 1;
    if job == Job::Two {
        data.copy_within(2..last, 1);
    }
    for _ in 0..BATCH {
        let data = black_box(&*data);
        match job {
            Job::Xor => kernels.xor_into(p, data),
            Job::Pq => kernels.pq(p, q, data),
            Job::Two => {
                let lost = &mut [(1, &mut *x), (last as u8, &mut *y)];
                let recovered = kernels.recover(lost, Parity::Good(p), Parity::Good(q), &data[..last - 1]);
                recovered.expect("two may be lost");
            }
            Job::Update => kernels.update(Some(p), Some(q), &[(1, &*x)]),
        }
    }
}
