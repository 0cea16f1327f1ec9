# raid6 of five members, right-symmetric-6, on metadata 1.1
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M 3M 3M

mdadm --create /dev/md0 --run --force --metadata 1.1 --level 6 --layout right-symmetric-6 --chunk 4 --raid-devices 5 --bitmap none /dev/d0 /dev/d1 /dev/d2 /dev/d3 /dev/d4 || exit 1
wait_idle
pattern fill /dev/md0 0 700k 84 && pattern fill /dev/md0 1500k 100k 85 || exit 1
content /dev/md0
mdadm --stop /dev/md0
