# a cache in writeback mode with data that the backing device has not, power cut
# kernel: 6.12
# mdadm: 4.4
# disks: 6M 4M
# open: bcache_register /dev/d0 /dev/d1

make-bcache --bucket 8k --block 512 --writeback -C /dev/d0 -B /dev/d1 || exit 1
bcache_register /dev/d0 /dev/d1 || exit 1
echo 0 > /sys/block/bcache0/bcache/sequential_cutoff
echo 0 > /sys/block/bcache0/bcache/writeback_running
pattern fill /dev/bcache0 256k 512k 43 && pattern fill /dev/bcache0 1m 4k 44 || exit 1
content /dev/bcache0
oracle-kill 0
