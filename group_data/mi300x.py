"""Hosts with eight AMD Instinct MI300X."""

accelerator = "mi300x"
accelerator_count = 8
context_length = 131072  # tokens
