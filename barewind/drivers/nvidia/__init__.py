"""NVIDIA: driver, fabric manager, container toolkit, nvidia-smi."""
