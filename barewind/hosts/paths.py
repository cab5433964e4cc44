"""The directories of a host that are Barewind's own; what lies in them is named by the slice that writes it."""

from __future__ import annotations

SETTINGS = "/etc/barewind"
PROGRAMS = "/usr/local/lib/barewind"
