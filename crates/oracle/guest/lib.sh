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
