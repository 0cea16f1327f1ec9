# linear: three unequal members one behind the other
# kernel: uml
# mdadm: 4.2
# disks: 4M 6M 5M

mdadm --create /dev/md0 --run --metadata 1.2 --level linear --rounding 64 --raid-devices 3 /dev/d0 /dev/d1 /dev/d2 || exit 1
pattern fill /dev/md0 0 128k 18 && pattern fill /dev/md0 2m 2m 19 && pattern fill /dev/md0 7m 2m 20 || exit 1
content /dev/md0
mdadm --stop /dev/md0
