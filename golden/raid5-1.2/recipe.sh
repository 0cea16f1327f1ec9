# raid5 of three members, left-symmetric, in sync, stopped cleanly
# kernel: 6.12
# mdadm: 4.4
# disks: 4M 4M 4M

mdadm --create /dev/md0 --run --force --metadata 1.2 --level 5 --chunk 64 --raid-devices 3 --bitmap none /dev/d0 /dev/d1 /dev/d2 || exit 1
wait_idle
pattern fill /dev/md0 0 1m 26 || exit 1
content /dev/md0
mdadm --stop /dev/md0
