"""Hosts with eight NVIDIA B200."""

accelerator = "b200"
accelerator_count = 8
