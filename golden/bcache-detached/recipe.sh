# a backing device that was written to through a cache, detached, and written to again; its cache is beside it
# kernel: 6.12
# mdadm: 4.4
# disks: 6M 4M
# open: bcache_register /dev/d0 /dev/d1

make-bcache --bucket 8k --block 512 --writeback -C /dev/d0 -B /dev/d1 || exit 1
bcache_register /dev/d0 /dev/d1 || exit 1
echo 0 > /sys/block/bcache0/bcache/sequential_cutoff
pattern fill /dev/bcache0 256k 512k 46 || exit 1
echo 1 > /sys/block/bcache0/bcache/detach
until grep -q 'no cache' /sys/block/bcache0/bcache/state; do sleep 0.2; done
pattern fill /dev/bcache0 512k 64k 47 || exit 1
content /dev/bcache0
bcache_stop
