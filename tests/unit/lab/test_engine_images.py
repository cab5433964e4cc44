"""Images of the real engines: which version, which hosts need them, what stands in for packages that are built for GPUs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from barewind import catalog
from lab import state, topology
from lab.images import gpu_packages
from lab.images.real_engines import engine_images
from lab.images.sglang_image import LOCK, SGLANG, VERSION, requirements

HOME = Path(gpu_packages.__file__).parent


def run(program: str) -> subprocess.CompletedProcess[str]:
    """A program whose Python has the stand-ins, as the image's has."""
    start = f"import sys; sys.path.insert(0, {str(HOME)!r}); import gpu_packages; gpu_packages.install()\n"
    return subprocess.run([sys.executable, "-c", start + program], capture_output=True, text=True, check=False)


def test_sglang_is_of_the_stable_channels_version() -> None:
    assert catalog.engines()["sglang"].channels["nvidia"]["stable"].startswith(f"v{VERSION}-")
    assert SGLANG.tag.startswith(f"v{VERSION}-")
    assert f"\nsglang=={VERSION} " in LOCK.read_text()


def test_sglang_shares_torch_with_vllm_and_leaves_vllm_out() -> None:
    text = requirements()
    assert "\ntorch==" in text
    assert "\nvllm-cpu==" not in text
    assert text.count("\nsglang==") == 1


@pytest.mark.parametrize(
    ("sizes", "images"),
    [
        ({}, ["vllm"]),  # what `make demo` brings up: nobody waits for SGLang's image
        ({"sglang": 1}, ["vllm", "sglang"]),
        ({"engines": 0, "sglang": 2}, ["sglang"]),
        ({"engines": 0, "hopper": 1}, []),
    ],
)
def test_an_image_is_built_for_a_lab_with_hosts_that_run_it(sizes: dict[str, int], images: list[str]) -> None:
    assert [image.name for image in engine_images(state.Lab(**sizes))] == images


def test_hosts_of_sglang_are_engine_hosts_without_accelerators() -> None:
    hosts = {host.name: host for host in topology.layout(engines=0, sglang=2)}
    assert (hosts["sglang2"].address, hosts["sglang2"].role, hosts["sglang2"].kind) == ("172.30.77.72", "engine", "")


def test_kernels_can_be_defined_and_not_run() -> None:
    defined = """
import triton, triton.language as tl
@triton.autotune(configs=[triton.Config({"N": 1})], key=["n"])
@triton.jit
def kernel(x, BLOCK: tl.constexpr): ...
class Own(triton.runtime.KernelInterface): ...
assert tl.constexpr(3) == 3 and not isinstance(1, triton.JITFunction)
"""
    assert run(defined).stderr == ""
    assert "not subscriptable" in run(f"{defined}kernel[(1,)](None)").stderr


@pytest.mark.parametrize("call", ["sgl_kernel.rmsnorm(1, 2)", "torchvision.transforms.functional.resize(1, size=2)"])
def test_other_functions_say_that_they_are_absent(call: str) -> None:
    result = run(f"import sgl_kernel, torchvision.transforms.functional\n{call}")
    assert f"{call.partition('(')[0]} is not in this image: it is built for GPUs" in result.stderr
