# raid5 of five members, right-asymmetric, on metadata 1.0
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M 3M 3M

mdadm --create /dev/md0 --run --force --metadata 1.0 --level 5 --layout right-asymmetric --chunk 8 --raid-devices 5 --bitmap none /dev/d0 /dev/d1 /dev/d2 /dev/d3 /dev/d4 || exit 1
wait_idle
pattern fill /dev/md0 0 700k 46 && pattern fill /dev/md0 4m 100k 47 || exit 1
content /dev/md0
mdadm --stop /dev/md0
