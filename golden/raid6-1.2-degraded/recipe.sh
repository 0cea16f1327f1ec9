# raid6 of five members, two of which failed, one after the other
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M 3M 3M
# members: d1 d2 d4

mdadm --create /dev/md0 --run --metadata 1.2 --level 6 --chunk 8 --raid-devices 5 --bitmap none /dev/d0 /dev/d1 /dev/d2 /dev/d3 /dev/d4 || exit 1
wait_idle
pattern fill /dev/md0 0 500k 103 || exit 1
mdadm /dev/md0 --fail /dev/d3 --remove /dev/d3 || exit 1
pattern fill /dev/md0 300k 200k 104 || exit 1
mdadm /dev/md0 --fail /dev/d0 --remove /dev/d0 || exit 1
pattern fill /dev/md0 400k 200k 105 && pattern fill /dev/md0 1501k 5k 106 || exit 1
content /dev/md0
mdadm --stop /dev/md0
