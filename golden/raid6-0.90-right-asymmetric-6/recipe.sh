# raid6 of four members, right-asymmetric-6, on metadata 0.90
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M 3M

mdadm --create /dev/md0 --run --force --metadata 0.90 --level 6 --layout right-asymmetric-6 --chunk 16 --raid-devices 4 --bitmap none /dev/d0 /dev/d1 /dev/d2 /dev/d3 || exit 1
wait_idle
pattern fill /dev/md0 0 700k 80 && pattern fill /dev/md0 1500k 100k 81 || exit 1
content /dev/md0
mdadm --stop /dev/md0
