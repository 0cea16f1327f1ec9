# a cache on a raid1 and its backing device on a raid5, with data that the raid5 has not, stopped
# kernel: 6.12
# mdadm: 4.4
# disks: 8M 8M 4M 4M 4M
# open: mdadm --assemble /dev/md0 /dev/d0 /dev/d1 && mdadm --assemble /dev/md1 /dev/d2 /dev/d3 /dev/d4 && bcache_register /dev/md0 /dev/md1

mdadm --create /dev/md0 --run --assume-clean --metadata 1.2 --level 1 --raid-devices 2 --bitmap none /dev/d0 /dev/d1 || exit 1
mdadm --create /dev/md1 --run --assume-clean --metadata 1.2 --level 5 --chunk 16 --raid-devices 3 --bitmap none /dev/d2 /dev/d3 /dev/d4 || exit 1
make-bcache --bucket 8k --block 512 --writeback -C /dev/md0 -B /dev/md1 || exit 1
bcache_register /dev/md0 /dev/md1 || exit 1
echo 0 > /sys/block/bcache0/bcache/sequential_cutoff
echo 0 > /sys/block/bcache0/bcache/writeback_running
pattern fill /dev/bcache0 256k 768k 48 || exit 1
content /dev/bcache0
bcache_stop
mdadm --stop /dev/md1 /dev/md0
