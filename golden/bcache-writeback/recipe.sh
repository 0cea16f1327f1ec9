# a cache in writeback mode with data that the backing device has not, stopped
# kernel: 6.12
# mdadm: 4.4
# disks: 6M 4M
# open: bcache_register /dev/d0 /dev/d1

make-bcache --bucket 8k --block 512 --writeback -C /dev/d0 -B /dev/d1 || exit 1
bcache_register /dev/d0 /dev/d1 || exit 1
echo 0 > /sys/block/bcache0/bcache/sequential_cutoff
echo 0 > /sys/block/bcache0/bcache/writeback_running
echo cached > /sys/block/bcache0/bcache/label
pattern fill /dev/bcache0 256k 512k 41 && pattern fill /dev/bcache0 1m 4k 42 || exit 1
content /dev/bcache0
bcache_stop
