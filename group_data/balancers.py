"""Hosts that balance over every engine host of the inventory. Their keys are at the end of group_data/all.py."""
