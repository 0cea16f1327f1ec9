# raid5 of four members, right-symmetric, on metadata 1.1
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M 3M

mdadm --create /dev/md0 --run --force --metadata 1.1 --level 5 --layout right-symmetric --chunk 32 --raid-devices 4 --bitmap none /dev/d0 /dev/d1 /dev/d2 /dev/d3 || exit 1
wait_idle
pattern fill /dev/md0 0 700k 48 && pattern fill /dev/md0 2m 100k 49 || exit 1
content /dev/md0
mdadm --stop /dev/md0
