"""Registries: what a name stands for, and images in and out by digest (OCI distribution API)."""

from __future__ import annotations

from barewind.registry.client import Connection, NotThere, Refused, Unreachable
from barewind.registry.lookup import resolve
from barewind.registry.repository import Blob, Document, Repository

__all__ = ["Blob", "Connection", "Document", "NotThere", "Refused", "Repository", "Unreachable", "resolve"]
