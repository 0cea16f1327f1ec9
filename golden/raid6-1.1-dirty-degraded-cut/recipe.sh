# raid6 of five members, power cut while two were missing and the others were marked dirty
# kernel: 6.12
# mdadm: 4.4
# disks: 3M 3M 3M
# before: modprobe -q md_mod; echo 1 > /sys/module/md_mod/parameters/start_dirty_degraded

mdadm --create /dev/md0 --run --metadata 1.1 --level 6 --layout ddf-N-continue --chunk 8 --raid-devices 5 --bitmap none missing /dev/d0 /dev/d1 missing /dev/d2 || exit 1
echo 0 > /sys/block/md0/md/safe_mode_delay
pattern fill /dev/md0 0 500k 117 && pattern fill /dev/md0 1501k 5k 118 || exit 1
content /dev/md0
oracle-kill 0
