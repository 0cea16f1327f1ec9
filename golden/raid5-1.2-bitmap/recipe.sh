# raid5 with an internal bitmap, stopped cleanly with no bit set
# kernel: uml
# mdadm: 4.4
# disks: 4M 4M 4M

mdadm --create /dev/md0 --run --force --metadata 1.2 --level 5 --chunk 16 --raid-devices 3 --bitmap internal --bitmap-chunk 64K /dev/d0 /dev/d1 /dev/d2 || exit 1
wait_idle
pattern fill /dev/md0 0 1m 142 && pattern fill /dev/md0 3m 128k 143 || exit 1
content /dev/md0
mdadm --stop /dev/md0
