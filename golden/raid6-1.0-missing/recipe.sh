# raid6 of five members that never had its first and its fourth
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M

mdadm --create /dev/md0 --run --metadata 1.0 --level 6 --layout ddf-N-restart --chunk 8 --raid-devices 5 --bitmap none missing /dev/d0 /dev/d1 missing /dev/d2 || exit 1
pattern fill /dev/md0 0 700k 107 && pattern fill /dev/md0 1501k 5k 108 || exit 1
content /dev/md0
mdadm --stop /dev/md0
