//! P, Q and their updates, of every implementation, beside their definition and known answers.

mod common;

use common::{Random, by_definition};
use parity::{Change, Data, Kernels};

#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn these_tests_reach_more_than_the_scalar_code() {
    let names: Vec<&str> = Kernels::all_available().map(Kernels::name).collect();
    println!("{names:?}");
    assert!(names.len() > 1 && Kernels::best() != Kernels::scalar());
    assert_eq!(names.last(), Some(&Kernels::best().name()));
}

#[test]
fn known_answers_of_the_field() {
    // By hand: 1 + 2 * 2 + 4 * 3 = 9; four times 0xff is 0xff * 15 = 0x6c.
    let cases: [(&[u8], u8, u8); 3] =
        [(&[1, 2, 3], 0, 0x9), (&[0xff; 4], 0, 0x6c), (&[1, 2, 3, 4, 5, 6, 7, 8], 8, 0x10)];
    for kernels in Kernels::all_available() {
        for (bytes, expected_p, expected_q) in cases {
            let blocks: Vec<Vec<u8>> = bytes.iter().map(|&byte| vec![byte; 300]).collect();
            let data: Vec<Data> = (0..).zip(blocks.iter().map(Vec::as_slice)).collect();
            let (mut p, mut q) = (vec![0; 300], vec![0; 300]);
            kernels.pq(&mut p, &mut q, &data);
            assert!(p.iter().all(|&byte| byte == expected_p), "{kernels:?} {bytes:?}");
            assert!(q.iter().all(|&byte| byte == expected_q), "{kernels:?} {bytes:?}");
        }
    }
}

#[test]
fn every_length_is_right() {
    let mut random = Random::new();
    for len in (0..=200).chain([255, 256, 257, 511, 512, 513, 1023, 4096, 4097, 5000, 9000]) {
        for indices in [vec![], vec![0], vec![3], vec![0, 1], vec![0, 1, 2, 3, 4, 5], vec![1, 2, 5, 6, 9]] {
            check(&mut random, &indices, len);
        }
    }
}

#[test]
fn every_number_of_data_blocks_is_right() {
    let mut random = Random::new();
    for count in 1..=255u8 {
        check(&mut random, &(0..count).collect::<Vec<u8>>(), 330);
        let sparse = random.indices(usize::from(count));
        check(&mut random, &sparse, 330);
    }
}

/// Everything that makes P and Q, by every implementation.
fn check(random: &mut Random, indices: &[u8], len: usize) {
    let stripe = random.stripe(indices.iter().copied(), len);
    let blocks = stripe.blocks();
    let plain: Vec<&[u8]> = blocks.iter().map(|block| block.1).collect();
    let before = random.bytes(len);
    let sum: Vec<u8> = before.iter().zip(&stripe.p).map(|(before, p)| before ^ p).collect();
    for kernels in Kernels::all_available() {
        let say = format!("{kernels:?}, indices {indices:?}, length {len}");
        let (mut p, mut q) = (before.clone(), before.clone());
        kernels.pq(&mut p, &mut q, &blocks);
        assert!(p == stripe.p, "P of pq: {say}");
        assert!(q == stripe.q, "Q of pq: {say}");
        q.copy_from_slice(&before);
        kernels.q(&mut q, &blocks);
        assert!(q == stripe.q, "q: {say}");
        p.copy_from_slice(&before);
        kernels.xor_into(&mut p, &blocks);
        assert!(p == stripe.p, "xor_into: {say}");
        p.copy_from_slice(&before);
        kernels.xor_accumulate(&mut p, &plain);
        assert!(p == sum, "xor_accumulate: {say}");
    }
}

#[test]
fn blocks_may_lie_anywhere() {
    let mut random = Random::new();
    for offset in 0..70 {
        let len = 600 + random.below(200);
        let stripe = random.stripe(0..6, len);
        // Each block, P and Q begin at an offset of their own.
        let moved: Vec<(usize, Vec<u8>)> = (0..)
            .zip(&stripe.data)
            .map(|(nth, (_, bytes))| (offset * nth % 67, bytes))
            .map(|(shift, bytes)| (shift, [vec![0xee; shift], bytes.clone()].concat()))
            .collect();
        let blocks: Vec<Data> = (0..).zip(moved.iter().map(|(shift, bytes)| &bytes[*shift..])).collect();
        for kernels in Kernels::all_available() {
            let (mut p, mut q) = (vec![0xee; len + 140], vec![0xee; len + 140]);
            let shift = offset * 5 % 69;
            kernels.pq(&mut p[offset..offset + len], &mut q[shift..shift + len], &blocks);
            assert!(p[offset..offset + len] == stripe.p && q[shift..shift + len] == stripe.q, "{kernels:?}");
            let outside = |bytes: &[u8], from: usize| {
                bytes[..from].iter().chain(&bytes[from + len..]).all(|&byte| byte == 0xee)
            };
            assert!(outside(&p, offset) && outside(&q, shift), "{kernels:?} wrote beside its target");
        }
    }
}

#[test]
fn an_update_gives_what_the_new_data_gives() {
    let mut random = Random::new();
    for round in 0..300 {
        let len = random.below(700);
        let count = 1 + random.below(20);
        let indices = random.indices(count);
        let old = random.stripe(indices.iter().copied(), len);
        let mut new = old.data.clone();
        let mut changed: Vec<usize> = (0..random.below(count + 1)).map(|_| random.below(count)).collect();
        changed.sort_unstable();
        changed.dedup();
        changed.reverse();
        for &place in &changed {
            new[place].1 = random.bytes(len);
        }
        let expected = by_definition(&new, len);
        let changes: Vec<Change> = changed
            .iter()
            .map(|&place| Change { index: indices[place], old: &old.data[place].1, new: &new[place].1 })
            .collect();
        let xors: Vec<(u8, Vec<u8>)> = changes
            .iter()
            .map(|change| {
                (change.index, change.old.iter().zip(change.new).map(|(old, new)| old ^ new).collect())
            })
            .collect();
        let differences: Vec<Data> = xors.iter().map(|(index, bytes)| (*index, bytes.as_slice())).collect();
        for kernels in Kernels::all_available() {
            let (mut p, mut q) = (old.p.clone(), old.q.clone());
            kernels.update(Some(&mut p), Some(&mut q), &changes);
            assert!((&p, &q) == (&expected.0, &expected.1), "{kernels:?}, round {round}");
            let (mut p, mut q) = (old.p.clone(), old.q.clone());
            kernels.update(Some(&mut p), Some(&mut q), &differences);
            assert!((&p, &q) == (&expected.0, &expected.1), "{kernels:?}, round {round}");
            let (mut p, mut q) = (old.p.clone(), old.q.clone());
            kernels.update(Some(&mut p), None, &changes);
            kernels.update(None, Some(&mut q), &changes);
            assert!((&p, &q) == (&expected.0, &expected.1), "{kernels:?}, round {round}");
        }
    }
}

#[test]
#[should_panic(expected = "the same length")]
fn blocks_of_two_lengths_are_refused() {
    parity::pq(&mut [0; 64], &mut [0; 64], &[(0, &[0; 64]), (1, &[0; 63])]);
}

#[test]
#[should_panic(expected = "ascending")]
fn indices_out_of_order_are_refused() {
    parity::pq(&mut [0], &mut [0], &[(1, &[0]), (0, &[0])]);
}

#[test]
#[should_panic(expected = "below 255")]
fn the_index_that_repeats_the_first_coefficient_is_refused() {
    parity::q(&mut [0], &[(255, &[0])]);
}
