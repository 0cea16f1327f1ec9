# raid1, power cut in the middle of its first resync with writes on the way: the resync begins anew, and d0 counts
# kernel: 6.12
# mdadm: 4.4
# disks: 12M 12M

pattern fill /dev/d0 2m 64k 9 && pattern fill /dev/d0 10m 64k 10 || exit 1
pattern fill /dev/d1 2m 64k 11 && pattern fill /dev/d1 10m 64k 12 || exit 1
slow 1000
mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 2 --bitmap none /dev/d0 /dev/d1 || exit 1
pattern fill /dev/md0 0 128k 13 || exit 1
until [ "$(cut -d ' ' -f 1 /sys/block/md0/md/sync_completed)" -gt 8000 ]; do sleep 0.2; done
cat /sys/block/md0/md/resync_start
content /dev/md0
oracle-kill 0
