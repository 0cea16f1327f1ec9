# raid5 of three members whose parity is on the first
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M

mdadm --create /dev/md0 --run --force --metadata 1.2 --level 5 --layout parity-first --chunk 16 --raid-devices 3 --bitmap none /dev/d0 /dev/d1 /dev/d2 || exit 1
wait_idle
pattern fill /dev/md0 0 700k 50 && pattern fill /dev/md0 1m 100k 51 || exit 1
content /dev/md0
mdadm --stop /dev/md0
