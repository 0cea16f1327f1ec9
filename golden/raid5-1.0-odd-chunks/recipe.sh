# raid5 of three members with an odd number of chunks and disks of unequal size
# kernel: 6.12
# mdadm: 4.4
# disks: 3100K 3080K 3333K

mdadm --create /dev/md0 --run --force --metadata 1.0 --level 5 --layout left-symmetric --chunk 64 --raid-devices 3 --bitmap none /dev/d0 /dev/d1 /dev/d2 || exit 1
wait_idle
pattern fill /dev/md0 0 700k 56 && pattern fill /dev/md0 5600k 100k 57 || exit 1
content /dev/md0
mdadm --stop /dev/md0
