# raid4 of four members with a write journal, write-through, power cut while it was in use
# kernel: uml
# mdadm: 4.4
# disks: 3M 3M 3M 3M 2M

mdadm --create /dev/md0 --run --assume-clean --metadata 1.2 --level 4 --chunk 8 --raid-devices 4 /dev/d0 /dev/d1 /dev/d2 /dev/d3 --write-journal /dev/d4 || exit 1
echo 0 > /sys/block/md0/md/safe_mode_delay
pattern fill /dev/md0 0 300k 213 && pattern fill /dev/md0 1501k 5k 214 || exit 1
content /dev/md0
oracle-kill 0
