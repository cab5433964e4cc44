"""Hosts with eight NVIDIA H200."""

accelerator = "h200"
accelerator_count = 8
