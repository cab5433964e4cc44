"""What `up` decides after a crash, and what it reads from the machine: pure functions."""

from pathlib import Path

import pytest

from lab import engine_daemon, engine_image, hosts, machine


@pytest.mark.parametrize(
    ("seen", "decision"),
    [
        (hosts.Seen(exists=False), "create"),
        (hosts.Seen(True, running=True, same_recipe=True, finished=True), "keep"),
        (hosts.Seen(True, running=True, same_recipe=True, finished=False), "recreate"),
        (hosts.Seen(True, running=True, same_recipe=False, finished=True), "recreate"),
        (hosts.Seen(True, running=False, same_recipe=True, finished=True), "start"),
        (hosts.Seen(True, running=False, same_recipe=True, finished=False), "recreate"),
    ],
)
def test_host(seen: hosts.Seen, decision: str) -> None:
    assert hosts.decide(seen) == decision


@pytest.mark.parametrize(
    ("seen", "decision"),
    [
        (engine_daemon.Seen(answers=True), "use"),
        (engine_daemon.Seen(answers=True, stale_pid_files=(Path("docker.pid"),)), "use"),
        (engine_daemon.Seen(answers=False), "start"),
        (engine_daemon.Seen(answers=False, stale_pid_files=(Path("docker.pid"),)), "clean and start"),
    ],
)
def test_docker_engine(seen: engine_daemon.Seen, decision: str) -> None:
    assert engine_daemon.decide(seen) == decision


@pytest.mark.parametrize(
    ("flags", "library"),
    [
        ("flags : fpu avx2", "_C_AVX2"),
        ("flags : avx2 avx512f avx512bw avx512vl avx512dq", "_C_AVX512"),
        ("flags : avx2 avx512f avx512bw avx512vl avx512dq avx512_bf16", "_C"),
    ],
)
def test_native_library(flags: str, library: str) -> None:
    assert engine_image.native_library(flags) == library


def test_apt_settings_keep_proxies_and_dates_only() -> None:
    dump = (
        'Acquire "";\nAcquire::http "";\nAcquire::http::Proxy "http://proxy:3128";\n'
        'Acquire::Check-Valid-Until "false";\nAcquire::Languages "none";\n'
    )
    assert (
        machine.apt_settings(dump) == 'Acquire::http::Proxy "http://proxy:3128";\nAcquire::Check-Valid-Until "false";\n'
    )


def test_mirrors_of_both_formats() -> None:
    lines = "deb [arch=amd64] http://mirror/debian bookworm main\ndeb http://mirror/security bookworm-security main\n"
    assert machine.debian_mirrors(lines) == ("http://mirror/debian", "http://mirror/security")
    paragraphs = "Types: deb\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
    assert machine.debian_mirrors(paragraphs) == ("http://m/debian", "http://deb.debian.org/debian-security")
    assert machine.debian_mirrors("") == ("http://deb.debian.org/debian", "http://deb.debian.org/debian-security")
