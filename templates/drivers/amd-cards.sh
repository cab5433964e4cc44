render_node() {
  readlink -e "/dev/dri/by-path/pci-$1-render"
}

cards() { # the tools number what amdgpu drives by PCI address, which is a card's identity here too
  lines=
  index=0
  for device in /sys/bus/pci/devices/*; do
    link=$(readlink "$device/driver") || continue
    [ "${link##*/}" = amdgpu ] || continue
    address=${device##*/}
    render_node "$address" >/dev/null ||
      { echo "$address has no node in /dev/dri; look at: journalctl -k -b; ls -l /dev/dri/by-path"; return 1; }
    lines="$lines$index $address $address
"
    index=$((index + 1))
  done
  printf %s "$lines"
}

held() {
  for address in "$@"; do
    file=/sys/bus/pci/devices/$address/mem_info_vram_used
    used=$(cat "$file" 2>/dev/null) || { echo "$address nobody knows whom: there is no $file"; continue; }
    [ "$used" -ge 2147483648 ] || continue # some hundred MiB are the firmware's own
    echo "$address $(holders "$(render_node "$address")") ($((used / 1048576)) MiB)"
  done
}

holders() { # by the driver for computing, which knows cards by a number of its own
  found=
  for topology in /sys/class/kfd/kfd/topology/nodes/*; do
    grep -qsx "drm_render_minor ${1##*renderD}" "$topology/properties" || continue
    for file in /sys/class/kfd/kfd/proc/*/vram_"$(cat "$topology/gpu_id")"; do
      [ "$(cat "$file" 2>/dev/null || echo 0)" -gt 0 ] || continue
      process=$(basename "${file%/*}")
      found="$found${found:+, }process $process ($(cat "/proc/$process/comm" 2>/dev/null || echo gone))"
    done
  done
  echo "${found:-no process that amdgpu knows}"
}

options() {
  echo --device=/dev/kfd
  for address in "$@"; do echo "--device=$(render_node "$address")"; done
}
