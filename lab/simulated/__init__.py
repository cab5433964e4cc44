"""Simulated accelerators: what runs inside a lab host to stand for its hardware, kernel modules and vendors' tools.

These files are copied into the host (/usr/local/lib/barewind-lab) and use nothing but Python's standard library.

    boot.py      before systemd: kernel interfaces as bind mounts, modules that load at boot
    kernel_log.py    /dev/kmsg, so that `journalctl -k` shows what the simulated modules say
    modules.py   loading and unloading: /sys/module, /proc/driver/nvidia, device nodes, driver links
    kmod.py      modprobe, modinfo, lsmod, rmmod;  dkms.py: dkms
    knobs.py     how the hardware misbehaves, for tests: lab/hardware_control.py sets it
    nvidia_smi.py, amd_smi.py, nvidia_ctk.py, ...   the vendors' tools; packages of lab/packages/ bring the commands
"""
