# raid5 of two members, left-symmetric
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M

mdadm --create /dev/md0 --run --force --metadata 1.2 --level 5 --layout left-symmetric --chunk 4 --raid-devices 2 --bitmap none /dev/d0 /dev/d1 || exit 1
wait_idle
pattern fill /dev/md0 0 700k 54 && pattern fill /dev/md0 1m 100k 55 || exit 1
content /dev/md0
mdadm --stop /dev/md0
