# raid4 of three members
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M

mdadm --create /dev/md0 --run --force --metadata 1.2 --level 4 --chunk 16 --raid-devices 3 --bitmap none /dev/d0 /dev/d1 /dev/d2 || exit 1
wait_idle
pattern fill /dev/md0 0 700k 42 && pattern fill /dev/md0 1m 100k 43 || exit 1
content /dev/md0
mdadm --stop /dev/md0
