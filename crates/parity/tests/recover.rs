//! Every loss that P and Q can heal, healed by every implementation.

mod common;

use common::{Random, Stripe};
use parity::{Kernels, Parity, TooMuchLost};

/// What is known of P or Q.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Good,
    Lost,
    Absent,
}

const STATES: [State; 3] = [State::Good, State::Lost, State::Absent];

#[test]
fn every_loss_of_up_to_ten_data_blocks_is_healed() {
    let mut random = Random::new();
    for count in 1..=10 {
        let dense = random.stripe(0..count, 200);
        // As the DDF layouts number: the slots of P and Q stand among the data.
        let sparse = random.stripe((0..count + 2).filter(|&slot| slot != 1 && slot != 2), 131);
        for stripe in [dense, sparse] {
            for x in 0..usize::from(count) {
                heal_all(&mut random, &stripe, &[x]);
                for y in (0..usize::from(count)).filter(|&y| y != x) {
                    heal_all(&mut random, &stripe, &[x, y]);
                }
            }
            heal_all(&mut random, &stripe, &[]);
        }
    }
}

#[test]
fn sampled_losses_of_wide_stripes_are_healed() {
    let mut random = Random::new();
    for count in (11..=254).step_by(9).chain([255]) {
        let len = 100 + random.below(400);
        let indices = random.indices(count);
        let stripe = random.stripe(indices, len);
        for _ in 0..4 {
            let x = random.below(count);
            let y = (x + 1 + random.below(count - 1)) % count;
            heal_all(&mut random, &stripe, &[x]);
            heal_all(&mut random, &stripe, &[x, y]);
        }
    }
}

#[test]
fn long_blocks_are_healed_column_by_column() {
    let mut random = Random::new();
    for len in [4095, 4096, 4097, 20_000] {
        let stripe = random.stripe(0..5, len);
        heal_all(&mut random, &stripe, &[1]);
        heal_all(&mut random, &stripe, &[0, 4]);
    }
}

/// Loses these data blocks together with every state of P and Q.
fn heal_all(random: &mut Random, stripe: &Stripe, lost: &[usize]) {
    for kernels in Kernels::all_available() {
        for p in STATES {
            for q in STATES {
                heal(kernels, random, stripe, lost, p, q);
            }
        }
    }
}

fn heal(kernels: Kernels, random: &mut Random, stripe: &Stripe, lost: &[usize], p: State, q: State) {
    let len = stripe.p.len();
    let rest = stripe.without(lost);
    let rubbish: Vec<Vec<u8>> = (0..4).map(|_| random.bytes(len)).collect();
    let mut buffers = rubbish.clone();
    let [first, second, p_buffer, q_buffer] = &mut buffers[..] else { unreachable!() };
    let index = |place: usize| stripe.data[place].0;
    let mut one = [(0, &mut first[..]), (0, &mut second[..])];
    lost.iter().zip(&mut one).for_each(|(&place, slot)| slot.0 = index(place));
    let result = kernels.recover(
        &mut one[..lost.len()],
        parity(p, &stripe.p, p_buffer),
        parity(q, &stripe.q, q_buffer),
        &rest,
    );

    let say = format!("{kernels:?}: {lost:?} of {} lost, P {p:?}, Q {q:?}", stripe.data.len());
    let good = [p, q].iter().filter(|&&state| state == State::Good).count();
    if lost.len() > good {
        assert_eq!(result, Err(TooMuchLost { lost: lost.len(), good }), "{say}");
        assert!(buffers == rubbish, "something was written: {say}");
        return;
    }
    assert_eq!(result, Ok(()), "{say}");
    for (nth, &place) in lost.iter().enumerate() {
        assert!(buffers[nth] == stripe.data[place].1, "{say}");
    }
    assert!(buffers[2] == *if p == State::Lost { &stripe.p } else { &rubbish[2] }, "P: {say}");
    assert!(buffers[3] == *if q == State::Lost { &stripe.q } else { &rubbish[3] }, "Q: {say}");
}

fn parity<'a>(state: State, good: &'a [u8], buffer: &'a mut [u8]) -> Parity<'a> {
    match state {
        State::Good => Parity::Good(good),
        State::Lost => Parity::Lost(buffer),
        State::Absent => Parity::Absent,
    }
}

#[test]
fn what_cannot_be_healed_is_said_in_words() {
    let error = parity::recover(&mut [(0, &mut [0; 8])], Parity::Absent, Parity::Lost(&mut [0; 8]), &[]);
    assert_eq!(error.unwrap_err().to_string(), "1 data blocks are lost, and only 0 of P and Q are good");
}

#[test]
#[should_panic(expected = "every index stands once")]
fn a_block_both_lost_and_good_is_refused() {
    let _ = parity::recover(&mut [(3, &mut [0])], Parity::Good(&[0]), Parity::Absent, &[(3, &[0])]);
}
