# raid5 of three members with a write journal, write-through, stopped
# kernel: uml
# mdadm: 4.4
# disks: 3M 3M 3M 2M

mdadm --create /dev/md0 --run --assume-clean --metadata 1.2 --level 5 --chunk 16 --raid-devices 3 /dev/d0 /dev/d1 /dev/d2 --write-journal /dev/d3 || exit 1
pattern fill /dev/md0 0 700k 211 && pattern fill /dev/md0 1501k 5k 212 || exit 1
content /dev/md0
mdadm --stop /dev/md0
