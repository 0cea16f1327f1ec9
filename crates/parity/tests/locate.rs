//! Checking, and finding the one member that is wrong.

mod common;

use common::{Random, Stripe};
use parity::{Kernels, Verdict};

#[test]
fn each_wrong_member_is_found_by_any_of_its_bytes() {
    let mut random = Random::new();
    for count in [1, 2, 3, 5, 8, 13, 100, 254] {
        let len = 1 + random.below(9000);
        let indices = random.indices(count);
        let stripe = random.stripe(indices, len);
        assert_verdict(&stripe, None, Verdict::Consistent);
        for bytes in [1, 3, len] {
            let place = random.below(count);
            let mut wrong = stripe.clone();
            let first = spoil(&mut random, &mut wrong.data[place].1, bytes);
            assert_verdict(&wrong, Some(first), Verdict::Data(stripe.data[place].0));
            let mut wrong = stripe.clone();
            let first = spoil(&mut random, &mut wrong.p, bytes);
            assert_verdict(&wrong, Some(first), Verdict::P);
            let mut wrong = stripe.clone();
            let first = spoil(&mut random, &mut wrong.q, bytes);
            assert_verdict(&wrong, Some(first), Verdict::Q);
        }
    }
}

#[test]
fn two_wrong_members_are_not_blamed_on_one() {
    let mut random = Random::new();
    for _ in 0..100 {
        let stripe = random.stripe(0..6, 5000);
        let mut wrong = stripe.clone();
        let one = spoil(&mut random, &mut wrong.data[1].1, 1);
        let mut two = one;
        while two == one {
            wrong.data[4].1.copy_from_slice(&stripe.data[4].1);
            two = spoil(&mut random, &mut wrong.data[4].1, 1);
        }
        assert_verdict(&wrong, Some(one.min(two)), Verdict::Unknown);
    }
}

#[test]
fn an_index_that_holds_no_data_is_not_blamed() {
    // Of index 7: P lacks 1, and Q lacks 2^7.
    let stripe = Stripe { data: vec![(0, vec![0]), (1, vec![0])], p: vec![1], q: vec![0x80] };
    assert_verdict(&stripe, Some(0), Verdict::Unknown);
}

/// Changes `count` bytes; the place of the first.
fn spoil(random: &mut Random, bytes: &mut [u8], count: usize) -> usize {
    let count = count.min(bytes.len());
    let first = random.below(bytes.len() - count + 1);
    for byte in &mut bytes[first..first + count] {
        *byte ^= 1 + random.below(255) as u8;
    }
    first
}

fn assert_verdict(stripe: &Stripe, first: Option<usize>, verdict: Verdict) {
    let blocks = stripe.blocks();
    for kernels in Kernels::all_available() {
        assert_eq!(kernels.locate(&stripe.p, &stripe.q, &blocks), verdict, "{kernels:?}");
        assert_eq!(kernels.check_pq(&stripe.p, &stripe.q, &blocks), first, "{kernels:?}");
        let p_is_right = verdict == Verdict::Q || verdict == Verdict::Consistent;
        assert_eq!(kernels.check_xor(&stripe.p, &blocks), first.filter(|_| !p_is_right), "{kernels:?}");
        let q_is_right = verdict == Verdict::P || verdict == Verdict::Consistent;
        assert_eq!(kernels.check_q(&stripe.q, &blocks), first.filter(|_| !q_is_right), "{kernels:?}");
    }
}

#[test]
fn the_first_byte_that_differs_is_found_at_every_place() {
    for kernels in Kernels::all_available() {
        for len in (0..200).chain([257, 1000, 4096]) {
            let mut bytes = vec![0; len];
            assert_eq!(kernels.first_nonzero(&bytes), None, "{kernels:?}, length {len}");
            for place in (0..len).rev() {
                // What follows the first one is not zero either.
                bytes[place] = 1 << (place % 8);
                assert_eq!(kernels.first_nonzero(&bytes), Some(place), "{kernels:?}, length {len}");
                assert_eq!(kernels.first_difference(&vec![0; len], &bytes), Some(place), "{kernels:?}");
            }
            assert_eq!(kernels.first_difference(&bytes, &bytes.clone()), None, "{kernels:?}");
        }
    }
}
