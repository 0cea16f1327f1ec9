# raid10 of four members with two far copies, stopped while a new one was rebuilt in place of d2
# kernel: uml
# mdadm: 4.4
# disks: 4M 4M 4M 4M 4M
# members: d0 d1 d3 d4

mdadm --create /dev/md0 --run --metadata 1.2 --level 10 --layout f2 --chunk 16 --raid-devices 4 --bitmap none /dev/d0 /dev/d1 /dev/d2 /dev/d3 || exit 1
wait_idle
pattern fill /dev/md0 0 0 138 || exit 1
mdadm /dev/md0 --fail /dev/d2 --remove /dev/d2 || exit 1
pattern fill /dev/md0 100k 300k 139 || exit 1
slow 300
mdadm /dev/md0 --add /dev/d4 || exit 1
until done=$(cut -d ' ' -f 1 /sys/block/md0/md/sync_completed); [ "$done" != none ] && [ "$done" -gt 1000 ]; do sleep 0.1; done
slow 10
pattern fill /dev/md0 0 10k 140 && pattern fill /dev/md0 5m 50k 141 || exit 1
content /dev/md0
mdadm --stop /dev/md0
