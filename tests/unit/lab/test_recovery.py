"""What `up` decides after a crash, and what it reads from the machine: pure functions."""

from pathlib import Path

import pytest

from lab.hosts import hosts
from lab.images import vllm_image
from lab.machine import debian, engine_daemon


@pytest.mark.parametrize(
    ("observed", "decision"),
    [
        (hosts.Observed(exists=False), "create"),
        (hosts.Observed(True, running=True, same_recipe=True, finished=True), "keep"),
        (hosts.Observed(True, running=True, same_recipe=True, finished=False), "recreate"),
        (hosts.Observed(True, running=True, same_recipe=False, finished=True), "recreate"),
        (hosts.Observed(True, running=False, same_recipe=True, finished=True), "start"),
        (hosts.Observed(True, running=False, same_recipe=True, finished=False), "recreate"),
    ],
)
def test_host(observed: hosts.Observed, decision: str) -> None:
    assert hosts.decide(observed) == decision


@pytest.mark.parametrize(
    ("observed", "decision"),
    [
        (engine_daemon.Observed(answers=True), "use"),
        (engine_daemon.Observed(answers=True, stale_pid_files=(Path("docker.pid"),)), "use"),
        (engine_daemon.Observed(answers=False), "start"),
        (engine_daemon.Observed(answers=False, stale_pid_files=(Path("docker.pid"),)), "clean and start"),
    ],
)
def test_docker_engine(observed: engine_daemon.Observed, decision: str) -> None:
    assert engine_daemon.decide(observed) == decision


@pytest.mark.parametrize(
    ("flags", "library"),
    [
        ("flags : fpu avx2", "_C_AVX2"),
        ("flags : avx2 avx512f avx512bw avx512vl avx512dq", "_C_AVX512"),
        ("flags : avx2 avx512f avx512bw avx512vl avx512dq avx512_bf16", "_C"),
    ],
)
def test_native_library(flags: str, library: str) -> None:
    assert vllm_image.native_library(flags) == library


def test_apt_settings_keep_proxies_and_dates_only() -> None:
    dump = (
        'Acquire "";\nAcquire::http "";\nAcquire::http::Proxy "http://proxy:3128";\n'
        'Acquire::Check-Valid-Until "false";\nAcquire::Languages "none";\n'
    )
    assert (
        debian.apt_settings(dump) == 'Acquire::http::Proxy "http://proxy:3128";\nAcquire::Check-Valid-Until "false";\n'
    )


def test_mirrors_of_both_formats() -> None:
    lines = "deb [arch=amd64] http://mirror/debian bookworm main\ndeb http://mirror/security bookworm-security main\n"
    assert debian.mirrors("bookworm", lines) == ("http://mirror/debian", "http://mirror/security")
    paragraphs = "Types: deb\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
    assert debian.mirrors("bookworm", paragraphs) == ("http://m/debian", "http://deb.debian.org/debian-security")
    trixie = "Types: deb\nURIs: http://m/debian\nSuites: trixie trixie-updates\nComponents: main\n"
    assert debian.mirrors("trixie", trixie) == ("http://m/debian", "http://deb.debian.org/debian-security")
    assert debian.mirrors("bookworm", "") == ("http://deb.debian.org/debian", "http://deb.debian.org/debian-security")
