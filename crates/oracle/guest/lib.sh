# Helpers that every guest script may use. Disks are /dev/d0, /dev/d1, ... in the order of the command line.

# Waits until no array resyncs, recovers, reshapes or is checked.
wait_idle() {
  sleep 0.2
  tries=0
  while grep -qE 'resync|recovery|reshape|check' /proc/mdstat && [ $tries -lt 1200 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
}

# Lets sync actions run at full speed, or holds them down to $1 KiB/s.
fast() { sync_speed 1000000; }
slow() { sync_speed "${1:-100}"; }
sync_speed() {
  modprobe -q md_mod # else the kernel that has it as a module does not know these files yet
  echo "$1" > /proc/sys/dev/raid/speed_limit_max
  echo "$1" > /proc/sys/dev/raid/speed_limit_min
}

# One line a device, as content.sha256 has it: hash, name, size.
content() {
  for device in "$@"; do
    echo "$(sha256sum < "$device" | cut -d ' ' -f 1)  $device  $(blockdev --getsize64 "$device") bytes"
  done
}

# Tells the kernel of caches and backing devices, as udev would.
bcache_register() {
  modprobe -q bcache
  for device in "$@"; do
    echo "$device" > /sys/fs/bcache/register || return 1
  done
  sleep 0.5
}

# Stops every volume of bcache, then every set, and waits until they are gone.
bcache_stop() {
  for volume in /sys/block/bcache*/bcache; do
    [ -e "$volume/stop" ] && echo 1 > "$volume/stop"
  done
  sleep 0.5
  for set in /sys/fs/bcache/*-*; do
    [ -e "$set/stop" ] && echo 1 > "$set/stop"
  done
  tries=0
  while ls -d /sys/fs/bcache/*-* /sys/block/bcache* > /dev/null 2>&1 && [ $tries -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
}
