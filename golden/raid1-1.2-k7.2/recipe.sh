# raid1 made by the newest kernel, which writes logical_block_size into the superblock; older kernels refuse it
# kernel: 7.2
# mdadm: 4.6
# disks: 4M 4M

mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 2 --bitmap none /dev/d0 /dev/d1 || exit 1
wait_idle
pattern fill /dev/md0 0 256k 3 || exit 1
content /dev/md0
mdadm --stop /dev/md0
