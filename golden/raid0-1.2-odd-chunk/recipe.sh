# raid0 with a chunk that is no power of two: 12 KiB
# kernel: 6.12
# mdadm: 4.4
# disks: 4M 4M

mdadm --create /dev/md0 --run --metadata 1.2 --level 0 --chunk 12 --raid-devices 2 /dev/d0 /dev/d1 || exit 1
pattern fill /dev/md0 0 1m 17 || exit 1
content /dev/md0
mdadm --stop /dev/md0
