# a volume that lies in the cache alone, stopped
# kernel: 6.12
# mdadm: 4.4
# disks: 6M
# open: bcache_register /dev/d0

make-bcache --bucket 8k --block 512 -C /dev/d0 || exit 1
bcache_register /dev/d0 || exit 1
echo 1M > "$(echo /sys/fs/bcache/*-*)/flash_vol_create" || exit 1
sleep 1
pattern fill /dev/bcache0 128k 300k 45 || exit 1
content /dev/bcache0
bcache_stop
