# raid0 of three equal members: one zone
# kernel: 6.12
# mdadm: 4.4
# disks: 4M 4M 4M

mdadm --create /dev/md0 --run --metadata 1.2 --level 0 --chunk 64 --raid-devices 3 /dev/d0 /dev/d1 /dev/d2 || exit 1
pattern fill /dev/md0 0 1m 14 && pattern fill /dev/md0 8m 192k 15 || exit 1
content /dev/md0
mdadm --stop /dev/md0
