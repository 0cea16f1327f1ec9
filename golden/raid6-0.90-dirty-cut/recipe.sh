# raid6 of four members on metadata 0.90, power cut while it was marked dirty
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M 3M

mdadm --create /dev/md0 --run --metadata 0.90 --level 6 --chunk 16 --raid-devices 4 --bitmap none /dev/d0 /dev/d1 /dev/d2 /dev/d3 || exit 1
wait_idle
echo 0 > /sys/block/md0/md/safe_mode_delay
pattern fill /dev/md0 0 700k 111 && pattern fill /dev/md0 1501k 5k 112 || exit 1
content /dev/md0
oracle-kill 0
