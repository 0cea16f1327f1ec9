# raid6 with an internal bitmap, power cut while some of its bits were set
# kernel: uml
# mdadm: 4.4
# disks: 4M 4M 4M 4M

mdadm --create /dev/md0 --run --metadata 1.2 --level 6 --chunk 16 --raid-devices 4 --bitmap internal --bitmap-chunk 64K /dev/d0 /dev/d1 /dev/d2 /dev/d3 || exit 1
wait_idle
pattern fill /dev/md0 0 256k 144 && pattern fill /dev/md0 1m 128k 145 || exit 1
content /dev/md0
oracle-kill 0
