# raid0 of four unequal members, three zones, in the layout of kernels before 3.14
# kernel: 6.12
# mdadm: 4.4
# disks: 4M 8M 6M 8M

mdadm --create /dev/md0 --run --metadata 1.2 --level 0 --chunk 64 --layout original --raid-devices 4 /dev/d[0-3] || exit 1
# Around the seams of the zones, which lie at 12 and 18 MiB.
pattern fill /dev/md0 0 128k 16 && pattern fill /dev/md0 11m 2m 16 && pattern fill /dev/md0 17m 2m 16 || exit 1
content /dev/md0
mdadm --stop /dev/md0
