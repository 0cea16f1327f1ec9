//! Numbers seen on members that mdadm 4.4 made.

use super::*;

#[test]
fn bitmap_space_grows_with_the_device() {
    assert_eq!(bitmap_space(127), 0);
    assert_eq!(bitmap_space(128), 8);
    assert_eq!(bitmap_space(8 * GIB + 8), 8);
    assert_eq!(bitmap_space(8 * GIB + 9), 128);
    assert_eq!(bitmap_space(200 * GIB + 127), 128);
    assert_eq!(bitmap_space(200 * GIB + 128), 256);
}

#[test]
fn data_offset_is_1_mib_on_small_and_129_mib_on_large_devices() {
    let offset = |device, chunk| default_data_offset(Version::V1_2, device, chunk, Reserve::Nothing);
    assert_eq!(offset(16 * MIB, 0), 2048);
    assert_eq!(offset(5 * MIB, 128), 2048);
    assert_eq!(offset(5 * MIB, 1024), 4096);
    assert_eq!(offset(300 * GIB, 1024), 264_192);
    assert_eq!(default_data_offset(Version::V1_0, 300 * GIB, 1024, Reserve::Nothing), 0);
}

#[test]
fn raid1_is_rounded_to_64_kib_and_striped_levels_to_chunks() {
    let size = |level, chunk| component_size(Version::V1_2, level, chunk, [14_336 + 100, 20_000]).unwrap();
    assert_eq!(size(Level::Raid1, 0), 14_336);
    assert_eq!(size(Level::Raid5, 1024), 14_336);
    assert_eq!(size(Level::Raid5, 8), 14_336 + 96);
    assert_eq!(size(Level::Raid0, 8), 0);
}

#[test]
fn members_of_more_than_4_tib_do_not_go_into_0_90() {
    assert!(component_size(Version::V0_90, Level::Raid1, 0, [1 << 33]).is_err());
    assert!(component_size(Version::V1_0, Level::Raid1, 0, [1 << 33]).is_ok());
}

#[test]
fn array_sizes_by_level() {
    assert_eq!(array_sectors(Level::Raid1, 0, 0, 2, 1001), Some(1001));
    assert_eq!(array_sectors(Level::Raid5, 2, 8, 4, 1001), Some(3000));
    assert_eq!(array_sectors(Level::Raid6, 2, 8, 4, 1001), Some(2000));
    assert_eq!(array_sectors(Level::Raid10, 0x102, 8, 3, 1001), Some(1496));
    assert_eq!(array_sectors(Level::Raid10, 0, 8, 3, 1001), None);
    assert_eq!(array_sectors(Level::Raid5, 2, 0, 4, 1001), None);
    assert_eq!(array_sectors(Level::Raid5, 2, 8, u32::MAX, u64::MAX), None);
    assert_eq!(linear_sectors([1001, 2002], 8), Some(3000));
    assert_eq!(linear_sectors([1001, 2002], 0), Some(3003));
}
