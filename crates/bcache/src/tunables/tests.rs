//! The tables against the kernel's figures, and what is typed against the tables.

use super::*;

fn all() -> impl Iterator<Item = &'static Tunable> {
    SetTunables::ALL.iter().chain(VolumeTunables::ALL)
}

#[test]
fn every_default_lies_within_its_bounds_and_is_typed_back_as_it_is_shown() {
    for tunable in all() {
        assert!((tunable.least..=tunable.most).contains(&tunable.default), "{}", tunable.name);
        for value in [tunable.least, tunable.default, tunable.most] {
            let text = tunable.kind.show(value);
            assert_eq!(tunable.kind.read(&text), Some(value), "{}: {text}", tunable.name);
        }
    }
}

#[test]
fn no_name_is_twice_in_a_table_and_none_is_both_taken_and_refused() {
    let check = |taken: &[Tunable], refused: &[Refused]| {
        let mut names: Vec<&str> = taken.iter().map(|tunable| tunable.name).collect();
        names.extend(refused.iter().map(|refused| refused.name));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    };
    check(SetTunables::ALL, SetTunables::REFUSED);
    check(VolumeTunables::ALL, VolumeTunables::REFUSED);
}

/// Everything that `bch_cached_dev_attrs`, `bch_cache_set_attrs`, `bch_cache_set_internal_attrs` and `bch_cache_attrs` of
/// Linux 6.12 list and let people write.
#[test]
fn everything_that_sysfs_lets_one_write_is_taken_or_refused_with_a_reason() {
    let of_a_set = "unregister stop synchronous journal_delay_ms flash_vol_create errors io_error_limit io_error_halflife \
        congested_read_threshold_us congested_write_threshold_us clear_stats trigger_gc prune_cache verify \
        key_merging_disabled expensive_debug_checks gc_always_rewrite btree_shrinker_disabled copy_gc_enabled \
        idle_max_writeback_rate gc_after_writeback io_disable discard cache_replacement_policy";
    let of_a_volume = "attach detach stop data_csum cache_mode readahead_cache_policy stop_when_cache_set_failed \
        writeback_metadata writeback_running writeback_delay writeback_percent writeback_rate writeback_consider_fragment \
        writeback_rate_update_seconds writeback_rate_i_term_inverse writeback_rate_p_term_inverse \
        writeback_rate_fp_term_low writeback_rate_fp_term_mid writeback_rate_fp_term_high writeback_rate_minimum \
        io_error_limit io_disable sequential_cutoff clear_stats running label verify bypass_torture_test size";
    for name in of_a_set.split_whitespace() {
        let result = SetTunables::default().get(name);
        assert!(!matches!(result, Err(TunableError::Unknown { .. })), "{name} of a set");
    }
    for name in of_a_volume.split_whitespace() {
        let result = VolumeTunables::default().get(name);
        assert!(!matches!(result, Err(TunableError::Unknown { .. })), "{name} of a volume");
    }
}

#[test]
fn at_the_start_everything_is_as_in_the_kernel() {
    let (set, volume) = (SetTunables::default(), VolumeTunables::default());
    assert_eq!(set.thresholds(), Thresholds::DEFAULT);
    assert_eq!(set.cutoffs(), Cutoffs::DEFAULT);
    assert_eq!(volume.tuning(&set), Tuning::DEFAULT);
    assert_eq!((set.replacement(), volume.mode()), (Replacement::Lru, CacheMode::Writethrough));
    assert_eq!(volume.get("sequential_cutoff").unwrap(), "4M");
    assert_eq!((set.journal_delay_ms.get(), volume.writeback_delay.get()), (100, 30));
}

#[test]
fn words_are_those_of_the_format_in_the_order_of_their_numbers() {
    let words = |tunables: &[Tunable], name: &str| {
        let tunable = tunables.iter().find(|tunable| tunable.name == name).unwrap();
        let Kind::Choice(words) = tunable.kind else { panic!("{name} is a choice") };
        words.to_vec()
    };
    assert_eq!(words(VolumeTunables::ALL, "cache_mode"), CacheMode::ALL.map(CacheMode::name));
    assert_eq!(words(SetTunables::ALL, "cache_replacement_policy"), Replacement::ALL.map(Replacement::name));
    let volume = VolumeTunables::default();
    for mode in CacheMode::ALL {
        volume.set("cache_mode", mode.name()).unwrap();
        assert_eq!(volume.mode(), mode);
    }
}

#[test]
fn a_value_is_taken_as_it_is_typed() {
    let volume = VolumeTunables::default();
    for (text, bytes, shown) in [
        ("0", 0, "0"),
        ("4096", 4096, "4K"),
        ("4k", 4096, "4K"),
        ("3M", 3 << 20, "3M"),
        ("1GiB", 1 << 30, "1G"),
        ("1000", 1000, "1000"),
    ] {
        volume.set("sequential_cutoff", text).unwrap();
        assert_eq!(volume.sequential_cutoff.get(), bytes, "{text}");
        assert_eq!(volume.get("sequential_cutoff").unwrap(), shown);
    }
    volume.set("writeback_running", "off").unwrap();
    assert_eq!(volume.get("writeback_running").unwrap(), "0");
}

#[test]
fn what_is_no_value_or_out_of_bounds_is_refused_and_changes_nothing() {
    let volume = VolumeTunables::default();
    for (name, wrong) in [
        ("sequential_cutoff", "much"),
        ("sequential_cutoff", "4Q"),
        ("sequential_cutoff", "-1"),
        ("sequential_cutoff", ""),
        ("sequential_cutoff", "4G"),
        ("sequential_cutoff", "18446744073709551615T"),
        ("writeback_percent", "41"),
        ("writeback_rate_minimum", "0"),
        ("writeback_rate_update_seconds", "61"),
        ("cache_mode", "writesideways"),
        ("writeback_running", "2"),
    ] {
        let before = volume.get(name).unwrap();
        let error = volume.set(name, wrong).unwrap_err();
        assert!(matches!(error, TunableError::Value { .. }), "{name} {wrong:?}: {error}");
        assert_eq!(volume.get(name).unwrap(), before);
    }
}

#[test]
fn what_would_not_go_with_another_one_is_refused_and_changes_nothing() {
    let set = SetTunables::default();
    let error = set.set("cutoff_writeback_sync", "39").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cutoff_writeback_sync: found \"39\", expected at least cutoff_writeback, which is 40"
    );
    assert_eq!(set.cutoffs(), Cutoffs::DEFAULT);
    set.set("cutoff_writeback_sync", "40").unwrap();
    let volume = VolumeTunables::default();
    let error = volume.set("writeback_rate_fp_term_low", "11").unwrap_err();
    assert!(
        error.to_string().ends_with("expected at most writeback_rate_fp_term_mid, which is 10"),
        "{error}"
    );
    assert_eq!(volume.tuning(&set).fp_terms, [1, 10, 1000]);
}

#[test]
fn errors_say_what_was_found_and_what_was_expected() {
    let volume = VolumeTunables::default();
    let text = |name: &str, value: &str| volume.set(name, value).unwrap_err().to_string();
    assert_eq!(
        text("writeback_percent", "50"),
        "writeback_percent: found \"50\", expected a number of percent from 0 to 40"
    );
    assert_eq!(
        text("cache_mode", "wb"),
        "cache_mode: found \"wb\", expected one of writethrough, writeback, writearound, none"
    );
    assert_eq!(
        text("data_csum", "1"),
        "data_csum cannot be set: the kernel stores it and never looks at it: the format has no checksums of data"
    );
    assert!(
        text("sequential_cut", "1")
            .starts_with("sequential_cut is no tunable of a cached volume; there are ")
    );
}
