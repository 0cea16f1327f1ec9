# a cache whose tree has many nodes, of many small extents that the backing device has not, power cut
# kernel: 6.12
# mdadm: 4.4
# disks: 24M 8M
# open: bcache_register /dev/d0 /dev/d1

make-bcache --bucket 4k --block 512 --writeback -C /dev/d0 -B /dev/d1 || exit 1
bcache_register /dev/d0 /dev/d1 || exit 1
echo 0 > /sys/block/bcache0/bcache/sequential_cutoff
echo 0 > /sys/block/bcache0/bcache/writeback_running
pattern scatter /dev/bcache0 12000 0 51 || exit 1
content /dev/bcache0
oracle-kill 0
