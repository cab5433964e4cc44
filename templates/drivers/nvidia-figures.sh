gpu_figures() {
  fields=index,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw,ecc.errors.uncorrected.volatile.total
  command -v nvidia-smi > /dev/null || return 0
  # The last field is called so since driver 535; what is not there ([N/A]) has no figure.
  timeout -k 2 8 nvidia-smi --query-gpu="$fields,clocks_event_reasons.hw_thermal_slowdown" --format=csv,noheader,nounits |
    awk -F', *' '
      function figure(name, value) { if (value ~ /^[0-9.]+$/) printf "barewind_gpu_%s{gpu=\"%s\"} %s\n", name, $1, value }
      $1 ~ /^[0-9]+$/ && NF == 8 {
        figure("utilization_ratio", $2 ~ /^[0-9.]+$/ ? $2 / 100 : "")
        figure("memory_used_bytes", $3 ~ /^[0-9.]+$/ ? sprintf("%.0f", $3 * 1048576) : "")
        figure("memory_total_bytes", $4 ~ /^[0-9.]+$/ ? sprintf("%.0f", $4 * 1048576) : "")
        figure("temperature_celsius", $5)
        figure("power_watts", $6)
        figure("uncorrectable_errors_total", $7)
        figure("thermal_slowdown", $8 == "Active" ? 1 : $8 == "Not Active" ? 0 : "")
      }'
}

# kind, code and card of a line of the kernel's log
kernel_error() {
  sed -n \
    -e 's/.*SXid (PCI:\([^)]*\)): \([0-9]*\).*/sxid \2 \1/p;t' \
    -e 's/.*Xid (PCI:\([^)]*\)): \([0-9]*\).*/xid \2 \1/p;t' \
    -e 's/.*fallen off the bus.*/lost 0 -/p;t' \
    -e 's/.*/driver 0 -/p'
}
