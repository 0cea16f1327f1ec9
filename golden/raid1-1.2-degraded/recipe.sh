# raid1 that lost d1: failed, removed, and the array written to since; d1 holds the older content
# kernel: 6.12
# mdadm: 4.4
# disks: 4M 4M
# members: d0

mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 2 --bitmap none /dev/d0 /dev/d1 || exit 1
wait_idle
pattern fill /dev/md0 0 256k 4 || exit 1
mdadm /dev/md0 --fail /dev/d1 && mdadm /dev/md0 --remove /dev/d1 || exit 1
pattern fill /dev/md0 128k 256k 5 || exit 1
content /dev/md0
mdadm --stop /dev/md0
