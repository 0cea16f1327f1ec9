#!/bin/busybox sh
# The guest's first process: makes a small system, runs /oracle/script, tells the host its status, powers off.
# The host reads this process's terminal; a line that begins with @oracle is for the harness.

export PATH=/sbin:/bin HOME=/
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /host
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tmpfs tmpfs /run
mkdir -p /run/mdadm
hostname oracle
. /oracle/env

exec <"$ORACLE_TERMINAL" >"$ORACLE_TERMINAL" 2>&1
stty raw -echo

# Nobody runs udev here: mdadm must make its own device nodes and not wait for them.
export MDADM_NO_UDEV=1 MDADM_NO_SYSTEMCTL=1 IMSM_NO_PLATFORM=1

for module in $ORACLE_MODULES; do modprobe -q "$module"; done

# If the harness dies, nobody else ends this guest.
(sleep "$ORACLE_LIMIT_S"; poweroff -f) </dev/null >/dev/null 2>&1 &

# Disks are found some time after their driver is loaded. Each gets the name /dev/dN, N counting from 0 in the
# order in which the host gave them, whatever the kernel calls it.
number=0
for disk in $ORACLE_DISKS; do
  tries=0
  until [ -b "/dev/$disk" ] || [ $tries -ge 100 ]; do sleep 0.1; tries=$((tries + 1)); done
  ln -s "/dev/$disk" "/dev/d$number"
  number=$((number + 1))
done

case "$ORACLE_SHARE" in
  "") ;;
  9p) modprobe -q 9p && mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /host ;;
  *) mount -t hostfs -o "$ORACLE_SHARE" hostfs /host ;;
esac

cd /tmp || exit
echo "@oracle started"
/bin/sh /oracle/script </dev/null
echo "@oracle exit $?"
sync
poweroff -f
sleep 100
