//! ISA-L, loaded at run time so that nothing else depends on it.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::{BATCH, BLOCKS_MAX, Job, Stripe, work};
use parity::Kernels;

type Generate = unsafe extern "C" fn(c_int, c_int, *mut *mut u8) -> c_int;
type Tables = unsafe extern "C" fn(c_int, c_int, *const u8, *mut u8);
type Encode = unsafe extern "C" fn(c_int, c_int, c_int, *const u8, *mut *mut u8, *mut *mut u8);
type EncodeUpdate = unsafe extern "C" fn(c_int, c_int, c_int, c_int, *const u8, *const u8, *mut *mut u8);

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

const RTLD_NOW: c_int = 2;

/// The functions of ISA-L that do our jobs, and its tables for a stripe.
pub struct Isal {
    xor_gen: Generate,
    pq_gen: Generate,
    init_tables: Tables,
    encode: Encode,
    encode_update: EncodeUpdate,
    /// From the data to P and Q.
    generating: Vec<u8>,
    /// From P, Q and the data but two to these two.
    solving: Vec<u8>,
}

impl Isal {
    /// `None` where the library is not installed.
    pub fn load() -> Option<Isal> {
        // SAFETY: a name that ends in zero; the library has no constructors that ask anything of us.
        let library = unsafe { dlopen(c"libisal.so.2".as_ptr(), RTLD_NOW) };
        if library.is_null() {
            return None;
        }
        // SAFETY: the library is open and stays so.
        let find = |name: &CStr| unsafe { dlsym(library, name.as_ptr()) };
        // SAFETY: the types are those of isa-l/raid.h and isa-l/erasure_code.h, with pointers to bytes throughout.
        let isal = unsafe {
            Isal {
                xor_gen: std::mem::transmute::<*mut c_void, Generate>(find(c"xor_gen")),
                pq_gen: std::mem::transmute::<*mut c_void, Generate>(find(c"pq_gen")),
                init_tables: std::mem::transmute::<*mut c_void, Tables>(find(c"ec_init_tables")),
                encode: std::mem::transmute::<*mut c_void, Encode>(find(c"ec_encode_data")),
                encode_update: std::mem::transmute::<*mut c_void, EncodeUpdate>(find(
                    c"ec_encode_data_update",
                )),
                generating: Vec::new(),
                solving: Vec::new(),
            }
        };
        Some(isal)
    }

    /// Makes the tables for a stripe of this many blocks, and checks that both do the same jobs.
    pub fn prepare(&mut self, stripe: &mut Stripe) {
        let blocks = stripe.blocks;
        let ones_and_powers: Vec<u8> = (0..2)
            .flat_map(|row| (0..blocks).map(move |index| if row == 0 { 1 } else { power(index) }))
            .collect();
        self.generating = self.tables(blocks, &ones_and_powers);
        self.solving = self.tables(blocks, &solution(blocks));
        for job in [Job::Xor, Job::Pq, Job::Two] {
            stripe.memory[stripe.begin + blocks * stripe.len + 2 * stripe.len..].fill(0xaa);
            self.work(job, stripe);
            let theirs = stripe.memory.clone();
            stripe.memory[stripe.begin + blocks * stripe.len + 2 * stripe.len..].fill(0xaa);
            work(Kernels::best(), job, stripe);
            assert!(theirs == stripe.memory, "{job:?} is not the same job");
        }
    }

    fn tables(&self, blocks: usize, matrix: &[u8]) -> Vec<u8> {
        let mut tables = vec![0; 32 * blocks * 2];
        // SAFETY: a matrix of 2 rows, and 32 bytes of tables for each number in it.
        unsafe { (self.init_tables)(blocks as c_int, 2, matrix.as_ptr(), tables.as_mut_ptr()) };
        tables
    }

    /// One job, a batch of times.
    pub fn work(&self, job: Job, stripe: &mut Stripe) {
        let (blocks, len) = (stripe.blocks, stripe.len as c_int);
        let first = stripe.memory[stripe.begin..].as_mut_ptr();
        let mut pointers = [std::ptr::null_mut(); BLOCKS_MAX];
        for (at, pointer) in pointers.iter_mut().enumerate().take(blocks + 4) {
            *pointer = first.wrapping_add(at * stripe.len);
        }
        let count = blocks as c_int;
        let mut survivors = [std::ptr::null_mut(); BLOCKS_MAX];
        survivors[0] = pointers[0];
        survivors[1..blocks - 2].copy_from_slice(&pointers[2..blocks - 1]);
        survivors[blocks - 2..blocks].copy_from_slice(&pointers[blocks..blocks + 2]);
        for _ in 0..BATCH {
            let (all, from) = (pointers.as_mut_ptr(), survivors.as_mut_ptr());
            // SAFETY: so many pointers to blocks of that length, data first and then what is written.
            unsafe {
                match job {
                    Job::Xor => _ = (self.xor_gen)(count + 1, len, all),
                    Job::Pq => _ = (self.pq_gen)(count + 2, len, all),
                    Job::Two => {
                        (self.encode)(len, count, 2, self.solving.as_ptr(), from, all.add(blocks + 2));
                    }
                    Job::Update => {
                        let (tables, difference) = (self.generating.as_ptr(), pointers[blocks + 2]);
                        (self.encode_update)(len, count, 2, 1, tables, difference, all.add(blocks));
                    }
                }
            }
        }
    }
}

/// Blocks 1 and the last as sums of all the others, P and Q: what our `recover` is told to find.
fn solution(blocks: usize) -> Vec<u8> {
    let (x, y) = (1, blocks - 1);
    let divisor = inverse(power(x) ^ power(y));
    // With P' and Q' for P and Q less the data that is left: Dx = (g^y P' + Q') / (g^x + g^y), Dy = (g^x P' + Q') / same.
    let row = |other: usize| {
        let rest = (0..blocks).filter(move |&index| index != x && index != y);
        let data = rest.map(move |index| times(divisor, power(other) ^ power(index)));
        data.chain([times(divisor, power(other)), divisor])
    };
    row(y).chain(row(x)).collect()
}

fn power(exponent: usize) -> u8 {
    (0..exponent).fold(1, |power, _| times(power, 2))
}

fn inverse(value: u8) -> u8 {
    (1..=255).find(|&other| times(value, other) == 1).expect("every byte but zero has an inverse")
}

fn times(left: u8, right: u8) -> u8 {
    let (mut product, mut left) = (0, left);
    for bit in 0..8 {
        product ^= if right >> bit & 1 == 1 { left } else { 0 };
        left = (left << 1) ^ ((left >> 7) * 0x1d);
    }
    product
}
