# raid5 of three members, power cut in the middle of its first resync
# kernel: 6.12
# mdadm: 4.4
# disks: 6M 6M 6M

for disk in 0 1 2; do pattern fill /dev/d$disk 5m 64k 12$disk || exit 1; done
slow 1000
mdadm --create /dev/md0 --run --force --metadata 1.2 --level 5 --chunk 16 --raid-devices 3 --bitmap none /dev/d0 /dev/d1 /dev/d2 || exit 1
pattern fill /dev/md0 0 300k 113 || exit 1
cat /proc/mdstat
content /dev/md0
oracle-kill 0
