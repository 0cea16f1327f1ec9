# raid4 of four members on metadata 0.90
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M 3M

mdadm --create /dev/md0 --run --force --metadata 0.90 --level 4 --chunk 4 --raid-devices 4 --bitmap none /dev/d0 /dev/d1 /dev/d2 /dev/d3 || exit 1
wait_idle
pattern fill /dev/md0 0 700k 40 && pattern fill /dev/md0 4m 100k 41 || exit 1
content /dev/md0
mdadm --stop /dev/md0
