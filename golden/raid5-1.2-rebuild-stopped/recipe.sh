# raid5 of three members, stopped while a new one was rebuilt in place of d1
# kernel: uml
# mdadm: 4.4
# disks: 4M 4M 4M 4M
# members: d0 d2 d3

mdadm --create /dev/md0 --run --force --metadata 1.2 --level 5 --chunk 16 --raid-devices 3 --bitmap none /dev/d0 /dev/d1 /dev/d2 || exit 1
wait_idle
pattern fill /dev/md0 0 0 130 || exit 1
mdadm /dev/md0 --fail /dev/d1 --remove /dev/d1 || exit 1
pattern fill /dev/md0 100k 300k 131 || exit 1
slow 300
mdadm /dev/md0 --add /dev/d3 || exit 1
until done=$(cut -d ' ' -f 1 /sys/block/md0/md/sync_completed); [ "$done" != none ] && [ "$done" -gt 1000 ]; do sleep 0.1; done
slow 10
pattern fill /dev/md0 0 10k 132 && pattern fill /dev/md0 5m 50k 133 || exit 1
content /dev/md0
mdadm --stop /dev/md0
