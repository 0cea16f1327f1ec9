# A file system on this machine, on a loop device on a volume's file, while memory runs out.
#
# d0 holds the programs, the other disks are members. LIVE_SECONDS, LIVE_SUBJECT (ashlar, nbdfuse, qsd or disk), LIVE_WORDS (for
# `ashlar run`), LIVE_WRITERS, LIVE_MIB and LIVE_LEAVE_MIB say what is done.

say() { echo "live: $*"; }
give_up() { say "failed: $*"; cat /run/server.log /run/peer.log 2>/dev/null; exit 1; }

for module in fuse loop ext4; do modprobe -q $module; done # one that is built in is none
for kind in fuse ext4; do
  grep -q "$kind\$" /proc/filesystems || give_up "the guest has no $kind: run cargo xtask oracle build again"
done
mkdir -p /programs /state /run/live /fs
mount -t ext4 -o ro /dev/d0 /programs || give_up "the disk of programs cannot be mounted"
export LD_LIBRARY_PATH=/programs/lib PATH=/programs/bin:$PATH HOME=/state

# Dirty pages may fill most of the memory; who waits for memory for long is told of.
echo 80 > /proc/sys/vm/dirty_ratio
echo 70 > /proc/sys/vm/dirty_background_ratio
echo 30 > /proc/sys/kernel/hung_task_timeout_secs
echo -1 > /proc/sys/kernel/hung_task_warnings

members=$(ls /dev/d[1-9])
case $LIVE_SUBJECT in disk) mv /dev/d1 /dev/disk && ln -s "$(readlink /dev/disk)" /run/live/volume && members=$(ls /dev/d[1-9]) && LIVE_WORDS="$LIVE_WORDS --degraded";; esac
case $LIVE_SUBJECT in
  ashlar) door="--fuse /run/live/volume" ;;
  disk) door="--fuse /run/live/ours" ;;
  *) door="--nbd /run/live/socket" ;;
esac
# Who only looks is never killed for want of memory; who serves is as any program, until it sees to that itself.
echo -1000 > /proc/1/oom_score_adj
echo -1000 > /proc/$$/oom_score_adj
plain() { echo 0 > /proc/self/oom_score_adj; exec "$@"; }
# shellcheck disable=SC2086
plain ashlar run $members --name live $door --state-dir /state --run-dir /run/live $LIVE_WORDS 2> /run/server.log &
server=$!
uri="nbd+unix:///home?socket=/run/live/socket"
wait_for() { tries=0; until [ "$1" "$2" ] || [ $tries -ge 600 ]; do sleep 0.2; tries=$((tries + 1)); done; [ "$1" "$2" ]; }
case $LIVE_SUBJECT in
  ashlar) wait_for -s /run/live/volume ;;
  disk) wait_for -s /run/live/ours ;;
  nbdfuse)
    wait_for -S /run/live/socket
    mkdir /run/live/peer
    plain nbdfuse /run/live/peer/volume "$uri" 2> /run/peer.log &
    wait_for -s /run/live/peer/volume && ln -s peer/volume /run/live/volume
    ;;
  qsd)
    wait_for -S /run/live/socket
    touch /run/live/volume
    plain qemu-storage-daemon --blockdev nbd,node-name=v,server.type=unix,server.path=/run/live/socket,export=home \
      --export fuse,id=e,node-name=v,mountpoint=/run/live/volume,writable=on 2> /run/peer.log &
    wait_for -s /run/live/volume
    ;;
esac || give_up "the volume's file did not come"
cat /run/server.log
ashlar cache set live sequential_cutoff=0 --run-dir /run/live || give_up "the cache cannot be set"
# busybox has one of its own, which its shell prefers
losetup=/programs/bin/losetup
$losetup --direct-io=on /dev/loop0 /run/live/volume || $losetup /dev/loop0 /run/live/volume || give_up "no loop device"
say "loop device, direct I/O: $(cat /sys/block/loop0/loop/dio)"
mkfs.ext4 -q -F /dev/loop0 || give_up "no file system"
mount -t ext4 /dev/loop0 /fs || give_up "the file system cannot be mounted"

# The hog is the first to be killed, and comes again.
(while :; do (echo 1000 > /proc/self/oom_score_adj; exec load hog "$LIVE_LEAVE_MIB"); echo "live: the hog was killed"; sleep 1; done) &
hogs=$!

(plain load write /fs "$LIVE_SECONDS" "$LIVE_WRITERS" "$LIVE_MIB" $server loop0)
written=$?
kill $hogs
killall load 2>/dev/null
echo "result writers=$written"
for what in memory io cpu; do sed "s/ /=/; s/^/result pressure_${what}_/" /proc/pressure/$what; done
umount /fs && echo "result unmounted=1"
e2fsck -f -n /dev/loop0 > /run/fsck.log 2>&1; echo "result fsck=$?"
$losetup -d /dev/loop0
case $LIVE_SUBJECT in
  nbdfuse) umount /run/live/peer ;;
  qsd) umount /run/live/volume ;;
esac
sleep 1
ashlar status live --run-dir /run/live
ashlar stop live --run-dir /run/live; echo "result stopped=$?"
exit 0
