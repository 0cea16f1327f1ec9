# raid6 of five members, ddf-zero-restart, on metadata 1.2
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M 3M 3M

mdadm --create /dev/md0 --run --force --metadata 1.2 --level 6 --layout ddf-zero-restart --chunk 4 --raid-devices 5 --bitmap none /dev/d0 /dev/d1 /dev/d2 /dev/d3 /dev/d4 || exit 1
wait_idle
pattern fill /dev/md0 0 700k 72 && pattern fill /dev/md0 1500k 100k 73 || exit 1
content /dev/md0
mdadm --stop /dev/md0
