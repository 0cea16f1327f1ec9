# raid1, power cut in the middle of its first resync, never written to: the checkpoint is in the superblock
# kernel: 6.12
# mdadm: 4.4
# disks: 12M 12M

pattern fill /dev/d0 2m 64k 27 && pattern fill /dev/d0 10m 64k 28 || exit 1
pattern fill /dev/d1 2m 64k 29 && pattern fill /dev/d1 10m 64k 30 || exit 1
slow 1000
mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 2 --bitmap none /dev/d0 /dev/d1 || exit 1
until [ "$(cut -d ' ' -f 1 /sys/block/md0/md/sync_completed)" -gt 8000 ]; do sleep 0.2; done
content /dev/md0
oracle-kill 0
