# raid6 of four members with a write journal, write-back, power cut while the newest data was in the journal alone
# kernel: uml
# mdadm: 4.4
# disks: 3M 3M 3M 3M 3M

mdadm --create /dev/md0 --run --assume-clean --metadata 1.1 --level 6 --chunk 16 --raid-devices 4 /dev/d0 /dev/d1 /dev/d2 /dev/d3 --write-journal /dev/d4 || exit 1
pattern fill /dev/md0 0 300k 215 || exit 1
echo write-back > /sys/block/md0/md/journal_mode
pattern fill /dev/md0 33k 70k 216 && pattern fill /dev/md0 901k 5k 217 && pattern fill /dev/md0 1200k 4k 218 || exit 1
content /dev/md0
oracle-kill 0
