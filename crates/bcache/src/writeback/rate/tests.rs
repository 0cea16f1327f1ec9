//! The controller against the kernel's arithmetic, written down a second time in its own integers, and in a closed loop.

use proptest::prelude::*;

use super::*;

fn at_ms(ms: u64) -> Moment {
    Moment((1 << 50) + ms * 1_000_000)
}

/// A cache of 100 GiB in buckets of 512 KiB, of which so much is dirty, and so many percent in use.
fn seen(dirty_sectors: u64, in_use_percent: u64) -> Seen {
    let buckets = 204_800;
    Seen {
        cache_sectors: buckets * 1024,
        device_sectors: 1 << 32,
        devices_sectors: 1 << 32,
        dirty_sectors,
        buckets_in_use: buckets * in_use_percent / 100,
        buckets,
        bucket_sectors: 1024,
    }
}

/// The arithmetic of the kernel's function, with its integers: the rate and the new integral.
fn kernel(rate: &Rate, now: Moment, seen: &Seen, tuning: &Tuning) -> (i64, i64) {
    let share = ((seen.device_sectors << 14) / seen.devices_sectors).max(1) as i64;
    let target = ((seen.cache_sectors * tuning.percent / 100) as i64 * share) >> 14;
    let dirty = seen.dirty_sectors as i64;
    let error = dirty - target;
    let mut p = error / tuning.p_term_inverse as i64;
    let in_use = (seen.buckets_in_use * 100 / seen.buckets) as i64;
    let dirty_buckets = seen.buckets_in_use as i64;
    if tuning.considers_fragments && in_use > 50 && dirty > 0 {
        let fragment = dirty_buckets * seen.bucket_sectors as i64 / dirty;
        let fp = if in_use <= 57 {
            tuning.fp_terms[0] as i64 * (in_use - 50)
        } else if in_use <= 64 {
            tuning.fp_terms[1] as i64 * (in_use - 57)
        } else {
            tuning.fp_terms[2] as i64 * (in_use - 64)
        };
        let fps = dirty / dirty_buckets * fp;
        if fragment > 3 && fps > p {
            p = fps;
        }
    }
    let mut sum = rate.sum;
    if (error < 0 && sum > 0) || (error > 0 && now.0 < rate.next.0 + 1_000_000) {
        sum += error * tuning.update_seconds as i64;
    }
    let i = sum / tuning.i_term_inverse as i64;
    ((p + i).clamp(tuning.minimum as i64, 1_000_000_000), sum)
}

proptest! {
    #[test]
    fn it_is_the_kernels_arithmetic(
        rounds in prop::collection::vec((0..100_000_000u64, 0..=100u64, 0..20_000u64, 1..50_000u64), 1..60),
        percent in 0..=40u64,
        minimum in 1..10_000u64,
        share in 1..=8u64,
    ) {
        let tuning = Tuning { percent, minimum, ..Tuning::DEFAULT };
        let (mut rate, mut now_ms) = (Rate::new(at_ms(0)), 0);
        for (dirty, in_use, later_ms, written) in rounds {
            now_ms += later_ms;
            let now = at_ms(now_ms);
            let seen = Seen { devices_sectors: (1 << 32) * share, ..seen(dirty, in_use) };
            let (expected, sum) = kernel(&rate, now, &seen, &tuning);
            let before = rate.rate;
            rate.update(now, &seen, &tuning);
            prop_assert_eq!((rate.rate as i64, rate.sum), (expected, sum));
            prop_assert_eq!(rate.change, expected - before as i64);
            rate.delay_ns(now, written);
        }
    }
}

#[test]
fn a_volume_may_be_dirty_by_its_share_of_the_devices() {
    let whole = seen(0, 0);
    assert_eq!(whole.target(10), 20_971_520, "10 % of 100 GiB");
    assert_eq!(Seen { devices_sectors: 1 << 34, ..whole }.target(10), 5_242_880, "a fourth of the devices");
    let tiny = Seen { device_sectors: 1, devices_sectors: 1 << 40, ..whole };
    assert_eq!(tiny.target(10), 20_971_520 >> 14, "the least share is a 16384th");
    assert_eq!(Seen { devices_sectors: 0, ..whole }.target(10), 20_971_520 << 32, "no division by nothing");
}

#[test]
fn what_is_too_much_would_be_gone_in_40_seconds() {
    let mut rate = Rate::new(at_ms(0));
    // Much later than the next write was due: the integral stands still, and only the first term counts.
    rate.update(at_ms(5000), &seen(20_971_520 + 4_000_000, 0), &Tuning::DEFAULT);
    assert_eq!((rate.rate, rate.proportional, rate.integral), (100_000, 100_000, 0));
    rate.update(at_ms(10_000), &seen(20_971_520 - 4_000_000, 0), &Tuning::DEFAULT);
    assert_eq!(rate.rate, 8, "below the target the least rate is enough");
    assert_eq!(rate.proportional, -100_000);
    assert_eq!(rate.change, 8 - 100_000);
}

#[test]
fn a_device_that_does_not_keep_up_winds_nothing_up() {
    let much = seen(20_971_520 + 4_000_000, 0);
    let (mut keeps_up, mut lags) = (Rate::new(at_ms(0)), Rate::new(at_ms(0)));
    for round in 1..=10 {
        let now = at_ms(round * 5000);
        keeps_up.delay_ns(now, 1 << 40);
        keeps_up.update(now, &much, &Tuning::DEFAULT);
        lags.update(now, &much, &Tuning::DEFAULT);
    }
    assert_eq!(keeps_up.integral, 10 * 5 * 4_000_000 / 10_000);
    assert_eq!(lags.integral, 0);
    keeps_up.update(at_ms(60_000), &seen(0, 0), &Tuning::DEFAULT);
    assert!(keeps_up.integral < 20_000, "what was wound up unwinds");
}

#[test]
fn few_dirty_sectors_in_many_buckets_are_written_back_faster() {
    let rate_at = |in_use: u64, dirty: u64, considers_fragments: bool| {
        let mut rate = Rate::new(at_ms(0));
        let tuning = Tuning { considers_fragments, ..Tuning::DEFAULT };
        rate.update(at_ms(5000), &seen(dirty, in_use), &tuning);
        rate.rate
    };
    // 16 sectors in each bucket in use: far below the target, so that nothing else calls for more than 8 a second.
    let dirty = |in_use: u64| 204_800 * in_use / 100 * 16;
    for (in_use, expected) in
        [(50, 8), (51, 16), (57, 7 * 16), (58, 160), (64, 7 * 160), (65, 16_000), (70, 96_000)]
    {
        assert_eq!(rate_at(in_use, dirty(in_use), true), expected, "{in_use} % in use");
        assert_eq!(rate_at(in_use, dirty(in_use), false), 8);
    }
    let dense = 204_800 * 70 / 100 * 1024 / 3;
    assert!(rate_at(70, dense, true) < 2_000_000, "buckets that are a third full are no fragments");
}

#[test]
fn more_than_32_bits_too_much_is_the_highest_rate_and_not_the_lowest() {
    let mut rate = Rate::new(at_ms(0));
    rate.update(at_ms(5000), &seen(1 << 40, 0), &Tuning::DEFAULT);
    assert_eq!(rate.rate, MOST);
}

#[test]
fn a_second_of_writing_is_a_second_of_waiting() {
    let mut rate = Rate::new(at_ms(0));
    assert_eq!(rate.delay_ns(at_ms(0), 1024), SECOND_NS);
    assert_eq!(rate.delay_ns(at_ms(400), 0), 600_000_000, "asked again, what is left");
    assert_eq!(rate.delay_ns(at_ms(1000), 512), SECOND_NS / 2);
}

#[test]
fn nobody_waits_longer_than_two_and_a_half_seconds_or_makes_up_for_more_than_two() {
    let mut rate = Rate::new(at_ms(0));
    assert_eq!(rate.delay_ns(at_ms(0), 1 << 40), 2_500_000_000);
    assert_eq!(rate.delay_ns(at_ms(2500), 0), 0);
    // An hour of nothing: 2 seconds' worth is free, the third has to be waited for.
    assert_eq!(rate.delay_ns(at_ms(3_600_000), 0), 0);
    assert_eq!(rate.delay_ns(at_ms(3_600_000), 3 * 1024), SECOND_NS);
    rate.forget(at_ms(7_200_000));
    assert_eq!(rate.delay_ns(at_ms(7_200_000), 1024), SECOND_NS, "a new pass owes and is owed nothing");
}

#[test]
fn a_set_that_nobody_uses_is_written_back_as_fast_as_it_goes() {
    for volumes in 1..4u64 {
        let mut idle = Idleness::default();
        let before = 6 * volumes * volumes - 1;
        assert!((0..before).all(|_| !idle.round(volumes)));
        assert!(idle.round(volumes) && idle.round(volumes));
        idle.end();
        assert!(!idle.round(volumes));
    }
    assert!(!(0..1000).any(|_| Idleness { rounds: 1000 }.round(0)));
    let mut rate = Rate::new(at_ms(0));
    rate.run_idle();
    assert_eq!(rate.rate, IDLE);
    assert!(rate.delay_ns(at_ms(0), 1_000_000) < 1_000_000);
    rate.update(at_ms(5000), &seen(0, 0), &Tuning::DEFAULT);
    assert_eq!(rate.rate, 8, "and slowly again as soon as it looks anew");
}

/// Clients write steadily; every second what the rate allows is written back. What stays dirty comes to rest at the target.
#[test]
fn under_a_steady_load_dirty_data_comes_to_rest_at_its_target() {
    let (mut rate, mut dirty, load) = (Rate::new(at_ms(0)), 0u64, 20_000u64);
    for second in 0..60_000u64 {
        let now = at_ms(second * 1000);
        dirty += load;
        if second % 5 == 0 {
            rate.update(now, &seen(dirty, 20), &Tuning::DEFAULT);
        }
        let back = rate.rate.min(dirty);
        dirty -= back;
        rate.delay_ns(now, back);
    }
    let target = seen(0, 0).target(10);
    let off = dirty.abs_diff(target) * 100 / target;
    assert!(
        off <= 5,
        "{dirty} sectors dirty for a target of {target}: {off} % off, at {} a second",
        rate.rate
    );
}
