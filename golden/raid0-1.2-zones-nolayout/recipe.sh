# raid0 of four unequal members, three zones, and no layout recorded: a kernel refuses it unless a parameter chooses (here: alternate)
# kernel: 6.12
# mdadm: 4.4
# disks: 4M 8M 6M 8M
# before: modprobe raid0; echo 2 > /sys/module/raid0/parameters/default_layout

mdadm --create /dev/md0 --run --metadata 1.2 --level 0 --chunk 64 --layout dangerous --raid-devices 4 /dev/d[0-3] || exit 1
# Around the seams of the zones, which lie at 12 and 18 MiB.
pattern fill /dev/md0 0 128k 16 && pattern fill /dev/md0 11m 2m 16 && pattern fill /dev/md0 17m 2m 16 || exit 1
content /dev/md0
mdadm --stop /dev/md0
