# raid5 of four members, one of which failed while the others went on
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M 3M
# members: d0 d2 d3

mdadm --create /dev/md0 --run --force --metadata 1.2 --level 5 --chunk 16 --raid-devices 4 --bitmap none /dev/d0 /dev/d1 /dev/d2 /dev/d3 || exit 1
wait_idle
pattern fill /dev/md0 0 500k 100 || exit 1
mdadm /dev/md0 --fail /dev/d1 --remove /dev/d1 || exit 1
pattern fill /dev/md0 300k 300k 101 && pattern fill /dev/md0 1501k 5k 102 || exit 1
content /dev/md0
mdadm --stop /dev/md0
