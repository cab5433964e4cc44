"""The argument parsers of the real engines, built as their own commands build them.

Runs inside an environment that holds the engine (`tools/schema.py` makes one); no accelerator is needed.
Sources: vllm/entrypoints/cli/main.py and serve.py (0.32), sglang/srt/server_args.py `prepare_server_args` (0.5.23).
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RealParser:
    """An engine's parser.

    + parse: takes an argument list as the engine's command does
    + settle: what the engine does with the result before it looks at a model; raises what it refuses
    """

    engine: str
    version: str
    parser: argparse.ArgumentParser
    parse: Callable[[Sequence[str]], argparse.Namespace]
    settle: Callable[[argparse.Namespace], object]
    flexible: bool  # vLLM's FlexibleArgumentParser: `_` is `-`, nested keys (`--flag.key value`), `-O3`


def load(engine: str) -> RealParser:
    """Import the engine and build its parser: about 20 s of processor time."""
    if engine == "vllm":
        return _vllm()
    if engine == "sglang":
        return _sglang()
    raise SystemExit(f"unknown engine '{engine}': write vllm or sglang")


def _vllm() -> RealParser:
    sys.argv = ["vllm", "serve", "--help"]  # vLLM reads its help texts only for a command that asks for help
    import vllm
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    command = FlexibleArgumentParser(prog="vllm")
    serve = make_arg_parser(command.add_subparsers(dest="subparser").add_parser("serve"))

    def parse(argv: Sequence[str]) -> argparse.Namespace:
        arguments: argparse.Namespace = command.parse_args(["serve", *argv])
        return arguments

    def settle(arguments: argparse.Namespace) -> None:
        validate_parsed_serve_args(arguments)
        AsyncEngineArgs.from_cli_args(arguments)

    flexible = isinstance(serve, FlexibleArgumentParser)
    return RealParser("vllm", _public(vllm.__version__), serve, parse, settle, flexible)


def _sglang() -> RealParser:
    if importlib.util.find_spec("triton") is None:
        sys.meta_path.append(_TritonStandIn())
    import sglang
    from sglang.srt.server_args import ServerArgs

    parser = argparse.ArgumentParser(prog="sglang serve")
    ServerArgs.add_cli_args(parser)
    version = _public(sglang.__version__)
    return RealParser("sglang", version, parser, parser.parse_args, ServerArgs.from_cli_args, flexible=False)


def _public(version: str) -> str:
    return version.split("+", 1)[0]


class _TritonStandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands for Triton, the compiler of GPU kernels: SGLang's modules import it, its arguments do not depend on it.

    Different: every name is there and does nothing. With the real compiler (1 GB installed) the parser is the same.
    """

    def find_spec(self, name: str, _path: object, _target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] != "triton":
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _EmptyModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class _Nothing:
    """Any attribute, any call; a decorator returns what it decorates."""

    def __getattr__(self, name: str) -> _Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args[0] if len(args) == 1 and not kwargs and callable(args[0]) else _Nothing()

    def __or__(self, other: object) -> _Nothing:
        return self


class _EmptyModule(types.ModuleType):
    def __getattr__(self, name: str) -> _Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing()
