"""What is asked of a host for a bundle: how its system is, what runs there and what that has logged. Pure."""

from __future__ import annotations

from barewind.drivers import accelerators
from barewind.hosts.script import script

_MOST = 4 * 2**20  # bytes of one section: a bundle is sent by mail
_KEPT = f"tail -c {_MOST}"


def look(lines: int) -> str:
    """Shell command, run as root, that prints it all in sections, with so many lines of each log."""
    journal = f"journalctl --no-pager -o short-iso -n {lines}"
    sections = {
        "system": "cat /etc/os-release; uname -a; uptime; date -u +%Y-%m-%dT%H:%M:%SZ; systemctl is-system-running",
        "memory": "free -m; df -h; swapon --show",
        "failed": "systemctl --failed --no-pager --no-legend",
        "units": "systemctl status --no-pager -n 0 'barewind-*' haproxy docker containerd",
        "engine": f"{journal} -u barewind-engine -u 'barewind-engine@*'",
        "jobs": f"{journal} -u 'barewind-*' --grep . | grep -v barewind-engine",
        "haproxy": f"{journal} -u haproxy",
        "docker": f"docker version; docker ps -a --no-trunc; {journal} -u docker -u containerd",
        "kernel": f"{journal} -k -p warning",
        "balancer": "cat /etc/haproxy/haproxy.cfg",
        "history": f"tail -n {lines} /etc/barewind/releases/history.jsonl",
        "network": "ip -br address; ss -Hltn",
    }
    asked = {name: f"( {command} ) 2>&1 | {_KEPT}" for name, command in sections.items()}
    return script(**asked | {f"accelerators_{name}": text for name, text in accelerators.sections().items()})
