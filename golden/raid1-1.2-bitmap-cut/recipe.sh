# raid1 with an internal bitmap, power cut while some of its bits were set
# kernel: 6.12
# mdadm: 4.4
# disks: 4M 4M

mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 2 --bitmap internal --bitmap-chunk 64K /dev/d0 /dev/d1 || exit 1
wait_idle
pattern fill /dev/md0 0 256k 22 && pattern fill /dev/md0 1m 128k 23 || exit 1
content /dev/md0
oracle-kill 0
