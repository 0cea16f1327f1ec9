# raid6 of five members, left-symmetric-6, on metadata 1.0
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M 3M 3M

mdadm --create /dev/md0 --run --force --metadata 1.0 --level 6 --layout left-symmetric-6 --chunk 8 --raid-devices 5 --bitmap none /dev/d0 /dev/d1 /dev/d2 /dev/d3 /dev/d4 || exit 1
wait_idle
pattern fill /dev/md0 0 700k 82 && pattern fill /dev/md0 1500k 100k 83 || exit 1
content /dev/md0
mdadm --stop /dev/md0
