# raid5 with entries in the bad block logs, no two of them in one row: data sectors 400+8 of d0, 1600+16 of d1
# kernel: uml
# mdadm: 4.4
# disks: 4M 4M 4M

mdadm --create /dev/md0 --run --force --metadata 1.2 --level 5 --chunk 16 --raid-devices 3 --bitmap none /dev/d0 /dev/d1 /dev/d2 || exit 1
wait_idle
pattern fill /dev/md0 0 0 137 || exit 1
md=/sys/block/md0/md
bad() { echo "$(($(cat $1/offset) + $2)) $3" > $1/bad_blocks || exit 1; }
for member in $md/dev-*; do
  case "$(cat $member/slot)" in
    0) bad $member 400 8 ;;
    1) bad $member 1600 16 ;;
  esac
done
content /dev/md0
mdadm --stop /dev/md0
mdadm --examine-badblocks /dev/d0
mdadm --examine-badblocks /dev/d1
