"""Stands in for packages that SGLang imports and that are built for GPUs only: Triton, its kernels, torch's vision and audio.

It is copied into the image as `gpu_packages.py` and loaded at Python's start. Every module and every name of these packages
exists. As a decorator, a name leaves the function as it is, so that kernels can be defined; whoever runs a kernel or calls any
other function gets an error that names it. SGLang's own stubs for macOS (sglang/_platform_stubs.py) do the same for Triton.
"""

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence
from typing import Any

PACKAGES = ("triton", "sgl_kernel", "torchaudio", "torchvision")


class Absent(type):
    """A name of such a package: a class, as some are base classes or stand in type checks."""

    def __new__(cls, name: str, bases: tuple[type, ...] = (), body: dict[str, Any] | None = None) -> "Absent":
        """A name that may also be subclassed."""
        return super().__new__(cls, name, bases, body or {})

    def __init__(cls, name: str, bases: tuple[type, ...] = (), body: dict[str, Any] | None = None) -> None:
        """Nothing is kept."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        """Decorates, or makes a decorator; RuntimeError for every other use."""
        if len(args) == 1 and not options and callable(args[0]):
            return args[0]
        if not args or cls.__name__.startswith("triton."):
            return lambda function: function
        raise RuntimeError(f"{cls.__name__} is not in this image: it is built for GPUs")

    def __getattr__(cls, name: str) -> Any:
        """A name below this one."""
        return member(cls.__name__, name)

    def __getitem__(cls, key: Any) -> "Absent":
        """As in a type's annotation."""
        return cls


class Module(types.ModuleType):
    """A module in which every name exists."""

    __version__ = "0"

    def __getattr__(self, name: str) -> Any:
        """A name of the module."""
        return member(self.__name__, name)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds these packages and all modules in them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A package of that name, if it is one of these."""
        del path, target
        ours = fullname.partition(".")[0] in PACKAGES
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if ours else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Module:
        """An empty module."""
        return Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""


def member(owner: str, name: str) -> Any:
    """A name in a module or class; AttributeError for Python's own."""
    if name.startswith("__"):
        raise AttributeError(name)
    if name == "constexpr":  # a number that a kernel is compiled with
        return lambda value: value
    return Absent(f"{owner}.{name}")


def install() -> None:
    """Have Python find these packages where it finds no other."""
    sys.meta_path.append(Finder())
