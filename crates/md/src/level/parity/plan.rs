//! What has to be read before blocks of a stripe can be written, or given back although they are lost. Pure.

use super::map::Stripe;
use super::slots::Slots;

/// What is known of a stripe's members when something is planned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Slots without a member: nothing can be read there, nothing is written.
    pub absent: Slots,
    /// Slots whose blocks cannot be read here although they have a member.
    pub unreadable: Slots,
    /// Slots whose blocks are listed as bad: nothing that they say counts.
    pub void: Slots,
    /// Parity is known to belong to the data (S8).
    pub consistent: bool,
    /// All parity is wanted, also that of who is absent: a replay takes data without parity for data that no member has.
    pub all_parity: bool,
}

/// How the parity of a partial write is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    /// All data is new: parity comes from it alone.
    Whole,
    /// From the data that is not written, which is read.
    Reconstruct,
    /// By the difference that the new data makes: what it replaces and the parity are read.
    Modify,
    /// Data that is neither new nor readable is recovered first, then as [`Method::Reconstruct`].
    Recover,
    /// There is no parity to keep.
    DataOnly,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    /// How.
    pub method: Method,
    /// Slots to be read.
    pub reads: Slots,
    /// Slots of data that is recovered.
    pub lost: Slots,
}

/// Why there is no plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoPlan {
    /// More is lost than parity can give back.
    TooMuchLost,
    /// Parity could give it back, but may not belong to the data (S6).
    Doubtful,
}

/// How to write the blocks in `covered`, slots of data, so that parity belongs to the data afterwards. Of those that are
/// `ragged` only a part is new: what they hold is needed too.
///
/// The way that reads fewer blocks is taken; of equals the one that does not depend on the parity there is. Where parity
/// may not belong to the data, it is made anew (S8); only where that would need a lost block, whose content is what
/// parity says, the difference is applied, because it leaves what parity says as it is.
pub(crate) fn plan_write(
    stripe: &Stripe,
    covered: Slots,
    ragged: Slots,
    known: Known,
) -> Result<Plan, NoPlan> {
    let data = stripe.data();
    let unreadable = known.unreadable | known.absent | known.void;
    let kept = stripe.parities() - known.absent;
    let others = (data - covered) | ragged;
    let plan = |method, reads| Ok(Plan { method, reads, lost: Slots::NONE });
    let data_only = match (ragged & unreadable).is_empty() {
        true => plan(Method::DataOnly, ragged),
        false => Err(NoPlan::TooMuchLost),
    };
    if kept.is_empty() && !known.all_parity {
        return data_only;
    }
    if others.is_empty() {
        return plan(Method::Whole, Slots::NONE);
    }
    let old = covered | kept;
    let can_reconstruct = (others & unreadable).is_empty();
    let has_all_parity = kept == stripe.parities() || !known.all_parity;
    let can_modify = (old & unreadable).is_empty() && has_all_parity;
    match (can_reconstruct, can_modify) {
        (true, true) if known.consistent && old.count() < others.count() => plan(Method::Modify, old),
        (true, _) => plan(Method::Reconstruct, others),
        (false, true) => plan(Method::Modify, old),
        (false, false) => {
            let (reads, _) = match plan_recovery(stripe, known) {
                // Parity that is listed as bad anyway stays so, until the block that is lost is written.
                Err(_) if (kept - known.void).is_empty() => return data_only,
                planned => planned?,
            };
            // What is lost and gets new data anyway is recovered all the same: P and Q know the lost blocks together.
            Ok(Plan { method: Method::Recover, reads, lost: data & unreadable })
        }
    }
}

/// What to read so that all data of the stripe that cannot be read can be recovered, and which of it is lost.
pub(crate) fn plan_recovery(stripe: &Stripe, known: Known) -> Result<(Slots, Slots), NoPlan> {
    let unreadable = known.unreadable | known.absent | known.void;
    let lost = stripe.data() & unreadable;
    let good = stripe.parities() - unreadable;
    if lost.count() > good.count() {
        return Err(NoPlan::TooMuchLost);
    }
    if !known.consistent {
        return Err(NoPlan::Doubtful);
    }
    let parities = good.iter().take(lost.count() as usize);
    // P is cheaper than Q, and has the first say.
    let first =
        if lost.count() == 1 && good.has(stripe.p) { Slots::one(stripe.p) } else { parities.collect() };
    Ok(((stripe.data() - lost) | first, lost))
}

#[cfg(test)]
mod tests {
    use md_format::Level;

    use super::super::map::Map;
    use super::*;

    const ALL_WELL: Known = Known {
        absent: Slots::NONE,
        unreadable: Slots::NONE,
        void: Slots::NONE,
        consistent: true,
        all_parity: false,
    };

    fn raid5(slots: u32) -> Stripe {
        Map::new(Level::Raid5, 2, slots, 8, 8000).unwrap().stripe(0) // 0 1 2 .. P
    }

    fn raid6(slots: u32) -> Stripe {
        Map::new(Level::Raid6, 5, slots, 8, 8000).unwrap().stripe(0) // 0 1 2 .. P Q
    }

    fn slots<const N: usize>(slots: [u16; N]) -> Slots {
        slots.into_iter().collect()
    }

    #[test]
    fn a_whole_stripe_reads_nothing() {
        let plan = plan_write(&raid6(6), slots([0, 1, 2, 3]), Slots::NONE, ALL_WELL).unwrap();
        assert_eq!((plan.method, plan.reads), (Method::Whole, Slots::NONE));
    }

    #[test]
    fn the_way_with_fewer_reads_is_taken() {
        let plan = plan_write(&raid5(6), slots([1]), Slots::NONE, ALL_WELL).unwrap();
        assert_eq!((plan.method, plan.reads), (Method::Modify, slots([1, 5])));
        let plan = plan_write(&raid5(6), slots([0, 1, 2]), Slots::NONE, ALL_WELL).unwrap();
        assert_eq!((plan.method, plan.reads), (Method::Reconstruct, slots([3, 4])));
        let plan = plan_write(&raid6(6), slots([0]), Slots::NONE, ALL_WELL).unwrap();
        assert_eq!(plan.method, Method::Reconstruct); // as many reads: what does not trust the parity
    }

    #[test]
    fn parity_that_may_not_belong_to_the_data_is_made_anew() {
        let known = Known { consistent: false, ..ALL_WELL };
        let plan = plan_write(&raid5(8), slots([0]), Slots::NONE, known).unwrap();
        assert_eq!(plan.method, Method::Reconstruct);
    }

    #[test]
    fn a_lost_block_that_is_not_written_keeps_what_parity_says_of_it() {
        for consistent in [true, false] {
            let known = Known { absent: slots([3]), consistent, ..ALL_WELL };
            let plan = plan_write(&raid5(6), slots([0, 1, 2]), Slots::NONE, known).unwrap();
            assert_eq!((plan.method, plan.reads), (Method::Modify, slots([0, 1, 2, 5])));
        }
    }

    #[test]
    fn a_lost_block_that_is_written_lives_in_the_parity() {
        let known = Known { absent: slots([0]), ..ALL_WELL };
        let plan = plan_write(&raid5(4), slots([0]), Slots::NONE, known).unwrap();
        assert_eq!((plan.method, plan.reads), (Method::Reconstruct, slots([1, 2])));
    }

    #[test]
    fn two_lost_blocks_of_which_one_is_written_are_both_recovered() {
        let known = Known { absent: slots([0, 1]), ..ALL_WELL };
        let plan = plan_write(&raid6(6), slots([0]), Slots::NONE, known).unwrap();
        assert_eq!(plan, Plan { method: Method::Recover, reads: slots([2, 3, 4, 5]), lost: slots([0, 1]) });
        let doubtful = Known { consistent: false, ..known };
        assert_eq!(plan_write(&raid6(6), slots([0]), Slots::NONE, doubtful), Err(NoPlan::Doubtful));
    }

    #[test]
    fn parity_that_cannot_be_read_is_written_anew() {
        let known = Known { unreadable: slots([5]), ..ALL_WELL };
        let plan = plan_write(&raid5(6), slots([0]), Slots::NONE, known).unwrap();
        assert_eq!((plan.method, plan.reads), (Method::Reconstruct, slots([1, 2, 3, 4])));
    }

    #[test]
    fn without_parity_members_data_is_just_written() {
        let known = Known { absent: slots([5]), ..ALL_WELL };
        let plan = plan_write(&raid5(6), slots([0]), Slots::NONE, known).unwrap();
        assert_eq!((plan.method, plan.reads), (Method::DataOnly, Slots::NONE));
    }

    #[test]
    fn for_a_journal_parity_is_made_whoever_is_absent() {
        let known = Known { absent: slots([4, 5]), all_parity: true, ..ALL_WELL };
        let plan = plan_write(&raid6(6), slots([0]), Slots::NONE, known).unwrap();
        assert_eq!((plan.method, plan.reads), (Method::Reconstruct, slots([1, 2, 3])));
        let known = Known { absent: slots([4]), all_parity: true, ..ALL_WELL };
        let plan = plan_write(&raid6(6), slots([0]), slots([0]), known).unwrap();
        assert_eq!((plan.method, plan.reads), (Method::Reconstruct, slots([0, 1, 2, 3])));
    }

    #[test]
    fn recovery_reads_no_more_than_it_needs() {
        let known = Known { absent: slots([2]), ..ALL_WELL };
        assert_eq!(plan_recovery(&raid6(6), known), Ok((slots([0, 1, 3, 4]), slots([2]))));
        let known = Known { absent: slots([2, 4]), ..ALL_WELL };
        assert_eq!(plan_recovery(&raid6(6), known), Ok((slots([0, 1, 3, 5]), slots([2]))));
        let known = Known { absent: slots([2]), unreadable: slots([3, 4]), ..ALL_WELL };
        assert_eq!(plan_recovery(&raid6(6), known), Err(NoPlan::TooMuchLost));
    }

    /// Every plan reads only what can be read, and knows all it needs.
    #[test]
    fn every_small_case_has_a_plan_as_long_as_parity_suffices() {
        let stripe = raid6(6);
        let subset = |bits: u32| (0..6).filter(move |slot| bits >> slot & 1 == 1).collect::<Slots>();
        for case in 0..1 << 21 {
            let covered = subset(case & 0xf);
            let (ragged, all_parity) = (subset(case >> 16 & 0xf), case >> 20 == 1);
            let known = Known {
                absent: subset(case >> 4 & 0x3f),
                unreadable: subset(case >> 10 & 0x3f),
                void: Slots::NONE,
                consistent: true,
                all_parity,
            };
            let gone = known.absent | known.unreadable;
            if covered.is_empty() || !(ragged - covered).is_empty() || gone.count() > 2 {
                continue;
            }
            let plan = plan_write(&stripe, covered, ragged, known);
            let plan = plan.expect("two losses are within reach of P and Q");
            assert!((plan.reads & gone).is_empty(), "{known:?} {plan:?}");
            let needed = match plan.method {
                Method::Whole => Slots::NONE,
                Method::DataOnly => ragged,
                Method::Modify => covered | (stripe.parities() - known.absent),
                Method::Reconstruct => (stripe.data() - covered) | ragged,
                Method::Recover => stripe.data() - plan.lost,
            };
            assert!((needed - plan.reads).is_empty(), "{known:?} {plan:?}");
            let makes_all = plan.method != Method::Modify || (stripe.parities() & known.absent).is_empty();
            assert!(makes_all || !all_parity, "{known:?} {plan:?}");
        }
    }
}
