# raid1 of two members, metadata 0.90, in sync, stopped cleanly
# kernel: 6.12
# mdadm: 4.4
# disks: 4M 4M

mdadm --create /dev/md0 --run --metadata 0.90 --level 1 --raid-devices 2 --bitmap none /dev/d0 /dev/d1 || exit 1
wait_idle
pattern fill /dev/md0 0 256k 1 && pattern fill /dev/md0 2m 128k 2 || exit 1
content /dev/md0
mdadm --stop /dev/md0
