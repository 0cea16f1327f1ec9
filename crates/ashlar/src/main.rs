//! Linux RAID and SSD caching from user space, on the same disks

fn main() {}
