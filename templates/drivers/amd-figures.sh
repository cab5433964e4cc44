# What the kernel's driver says in files (its documentation, "GPU Power/Thermal Controls and Monitoring" and "AMDGPU RAS Support"):
# no tool has to be installed, and none hangs. Cards are numbered by PCI address, as the tools number them.
gpu_figures() {
  index=0
  for device in /sys/bus/pci/devices/*; do
    link=$(readlink "$device/driver") || continue
    [ "${link##*/}" = amdgpu ] || continue
    figure() { # name, file, divisor
      value=$(cat "$device"/$2 2> /dev/null | head -n 1)
      case "$value" in "" | *[!0-9]*) return 0 ;; esac
      echo "$index $1 $value $3" | awk '{ printf "barewind_gpu_%s{gpu=\"%s\"} %.10g\n", $2, $1, $3 / $4 }'
    }
    figure utilization_ratio gpu_busy_percent 100
    figure memory_used_bytes mem_info_vram_used 1
    figure memory_total_bytes mem_info_vram_total 1
    figure temperature_celsius 'hwmon/hwmon*/temp2_input' 1000
    figure power_watts 'hwmon/hwmon*/power1_average' 1000000
    errors=$(sed -n 's/^ue: *\([0-9][0-9]*\)$/\1/p' "$device/ras/umc_err_count" 2> /dev/null)
    [ -z "$errors" ] || echo "barewind_gpu_uncorrectable_errors_total{gpu=\"$index\"} $errors"
    index=$((index + 1))
  done
}

# kind, code and card of a line of the kernel's log
kernel_error() {
  sed -n \
    -e 's/.*amdgpu \([0-9a-f:.]*\): .*uncorrectable.*/ras 0 \1/p;t' \
    -e 's/.*amdgpu \([0-9a-f:.]*\): .*/driver 0 \1/p;t' \
    -e 's/.*/driver 0 -/p'
}
