# raid5 of three members, power cut while d1 was being replaced by d3
# kernel: uml
# mdadm: 4.4
# disks: 4M 4M 4M 4M

mdadm --create /dev/md0 --run --force --metadata 1.2 --level 5 --chunk 16 --raid-devices 3 --bitmap none /dev/d0 /dev/d1 /dev/d2 || exit 1
wait_idle
pattern fill /dev/md0 0 0 134 || exit 1
slow 300
mdadm /dev/md0 --add /dev/d3 && mdadm /dev/md0 --replace /dev/d1 --with /dev/d3 || exit 1
until done=$(cut -d ' ' -f 1 /sys/block/md0/md/sync_completed); [ "$done" != none ] && [ "$done" -gt 1000 ]; do sleep 0.1; done
slow 10
pattern fill /dev/md0 0 10k 135 && pattern fill /dev/md0 5m 50k 136 || exit 1
until [ "$(cat /sys/block/md0/md/array_state)" = clean ]; do sleep 0.1; done
content /dev/md0
oracle-kill 0
