# raid1 with an internal write-intent bitmap, in sync, stopped cleanly
# kernel: 6.12
# mdadm: 4.4
# disks: 4M 4M

mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 2 --bitmap internal --bitmap-chunk 64K /dev/d0 /dev/d1 || exit 1
wait_idle
pattern fill /dev/md0 0 256k 21 || exit 1
content /dev/md0
mdadm --stop /dev/md0
