"""Simulated accelerators: programs in a lab host that stand for its hardware, kernel modules and vendors' tools.

These files are copied into the host (/usr/local/lib/barewind-lab) and use Python's standard library alone.

    boot.py      before systemd: kernel interfaces as bind mounts, modules that load at boot
    kernel_log.py    /dev/kmsg, so that `journalctl -k` shows the lines of the simulated modules
    modules.py   loading and unloading: /sys/module, /proc/driver/nvidia, device nodes, driver links
    kmod.py      modprobe, modinfo, lsmod, rmmod;  dkms.py: dkms
    knobs.py     how the hardware misbehaves, for tests; lab/hosts/hardware_control.py sets it
    nvidia_smi.py, amd_smi.py, nvidia_ctk.py, ...   the vendors' tools; packages of lab/packages/ bring the commands
"""
