# raid1 of three: d0 and d1 are current, d2 is stale (failed and removed before the last writes), d3 belongs to another array
# kernel: 6.12
# mdadm: 4.4
# disks: 4M 4M 4M 4M
# members: d0 d1

mdadm --create /dev/md1 --run --metadata 1.2 --level 1 --raid-devices 2 --bitmap none /dev/d3 missing || exit 1
pattern fill /dev/md1 0 256k 6 && mdadm --stop /dev/md1 || exit 1
mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 3 --bitmap none /dev/d0 /dev/d1 /dev/d2 || exit 1
wait_idle
pattern fill /dev/md0 0 256k 7 || exit 1
mdadm /dev/md0 --fail /dev/d2 && mdadm /dev/md0 --remove /dev/d2 || exit 1
pattern fill /dev/md0 128k 256k 8 || exit 1
content /dev/md0
mdadm --stop /dev/md0
