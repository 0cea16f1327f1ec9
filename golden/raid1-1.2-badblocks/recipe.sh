# raid1 with entries in the bad block logs: data sectors 400+8 and 1000+1 of d0, 1600+16 of d1
# kernel: 6.12
# mdadm: 4.4
# disks: 4M 4M

mdadm --create /dev/md0 --run --metadata 1.2 --level 1 --raid-devices 2 --bitmap none /dev/d0 /dev/d1 || exit 1
wait_idle
pattern fill /dev/md0 0 1m 24 || exit 1
md=/sys/block/md0/md
bad() { echo "$(($(cat $1/offset) + $2)) $3" > $1/bad_blocks || exit 1; }
for member in $md/dev-*; do
  case "$(cat $member/slot)" in
    0) bad $member 400 8; bad $member 1000 1 ;;
    1) bad $member 1600 16 ;;
  esac
done
pattern fill /dev/md0 2m 64k 25 || exit 1
content /dev/md0
mdadm --stop /dev/md0
mdadm --examine-badblocks /dev/d0
mdadm --examine-badblocks /dev/d1
