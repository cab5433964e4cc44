cards() {
  lines=$(nvidia-smi --query-gpu=index,uuid,pci.bus_id --format=csv,noheader 2>&1) ||
    { echo "nvidia-smi does not list them ($lines); look at: journalctl -k -b; nvidia-smi"; return 1; }
  # 0, GPU-5e..., 00000000:3D:00.0: the kernel writes 0000:3d:00.0
  echo "$lines" | tr A-Z a-z | sed -n 's/^\([0-9]*\), *gpu-\([^,]*\), *0*\([0-9a-f]\{4,\}:[^ ]*\)$/\1 \3 GPU-\2/p'
}

held() {
  lines=$(nvidia-smi --query-compute-apps=gpu_uuid,pid,used_memory --format=csv,noheader 2>&1) ||
    { echo "$1 nobody knows whom: nvidia-smi says $lines"; return; }
  echo "$lines" | while IFS=', ' read -r uuid process memory; do
    case " $* " in
      *" $uuid "*) echo "$uuid process $process ($(cat "/proc/$process/comm" 2>/dev/null || echo gone), $memory)" ;;
    esac
  done
}

options() {
  names=
  for uuid in "$@"; do names=$names${names:+,}nvidia.com/gpu=$uuid; done
  echo "--env=NVIDIA_VISIBLE_DEVICES=$names"
}
