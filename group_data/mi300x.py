"""Hosts with eight AMD Instinct MI300X."""

accelerator = "mi300x"
accelerator_count = 8
