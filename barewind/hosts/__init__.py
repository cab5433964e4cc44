"""Hosts: the way to them, the commands run on them, and what every slice needs there (files, packages, keys)."""
