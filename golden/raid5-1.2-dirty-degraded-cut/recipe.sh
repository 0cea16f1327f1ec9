# raid5 of four members, power cut while one was missing and the others were marked dirty
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M 3M
# members: d0 d2 d3
# before: modprobe -q md_mod; echo 1 > /sys/module/md_mod/parameters/start_dirty_degraded

mdadm --create /dev/md0 --run --force --metadata 1.2 --level 5 --chunk 16 --raid-devices 4 --bitmap none /dev/d0 /dev/d1 /dev/d2 /dev/d3 || exit 1
wait_idle
echo 0 > /sys/block/md0/md/safe_mode_delay
pattern fill /dev/md0 0 500k 114 || exit 1
mdadm /dev/md0 --fail /dev/d1 --remove /dev/d1 || exit 1
pattern fill /dev/md0 300k 300k 115 && pattern fill /dev/md0 1501k 5k 116 || exit 1
content /dev/md0
oracle-kill 0
