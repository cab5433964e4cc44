"""What runc is told of a container (OCI runtime specification), from the options of `docker run`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.light.errors import not_known
from lab.light.options import Values
from lab.light.store import Json

INIT = "/usr/bin/tini-static"  # of the host, for --init
_CAPABILITIES = (  # those that Docker gives
    *("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP"),
    *("NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
)
# Far fewer than Docker's profile refuses: those that reach the host's kernel.
_REFUSED = (
    *("mount", "umount2", "pivot_root", "unshare", "setns", "reboot", "swapon", "swapoff", "kexec_load", "bpf"),
    *("init_module", "finit_module", "delete_module", "open_by_handle_at", "perf_event_open", "keyctl", "add_key"),
)
_MASKED = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware")
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def config(values: Values, image: Json, words: Sequence[str], hostname: str) -> Json:
    """`Config` as `docker inspect` shows it. `words`: what follows the image."""
    own = image["config"]
    entrypoint = values["entrypoint"] if "entrypoint" in values else own.get("Entrypoint") or []
    command = list(words) or ([] if "entrypoint" in values else own.get("Cmd") or [])
    environment = {"HOSTNAME": hostname, "HOME": "/root" if _user(values)[0] == 0 else "/"}
    for variable in (*(own.get("Env") or ()), *values.get("env", ())):
        name, equals, value = variable.partition("=")
        if not equals:
            raise not_known(f"--env={variable}, which takes a variable over from the command's own environment,")
        environment[name] = value
    labels = dict(label.partition("=")[::2] for label in values.get("label", ()))
    return {
        "Hostname": hostname,
        "User": _last(values, "user"),
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Cmd": command,
        "Entrypoint": entrypoint or None,
        "WorkingDir": _last(values, "workdir") or own.get("WorkingDir") or "/",
        "Labels": {**(own.get("Labels") or {}), **labels},
        "OpenStdin": "interactive" in values,
    }


def host_config(values: Values) -> Json:
    """`HostConfig` as `docker inspect` shows it."""
    return {
        "AutoRemove": True,
        "Binds": values.get("volume", []),
        "CapAdd": values.get("cap-add") or None,
        "CapDrop": values.get("cap-drop") or None,
        "GroupAdd": values.get("group-add") or None,
        "Init": "init" in values or None,
        "IpcMode": _last(values, "ipc") or "private",
        "LogConfig": {"Type": "none", "Config": {}},
        "NetworkMode": "host",
        "PidsLimit": int(_last(values, "pids-limit") or 0) or None,
        "Privileged": False,
        "ReadonlyRootfs": "read-only" in values,
        "SecurityOpt": values.get("security-opt") or None,
        "ShmSize": size(_last(values, "shm-size") or "64m"),
        "Tmpfs": dict(text.partition(":")[::2] for text in values.get("tmpfs", ())),
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard} for name, soft, hard in map(_ulimit, values.get("ulimit", ()))
        ],
    }


def spec(identifier: str, values: Values, own: Mapping[str, Json], rootfs: Path) -> Json:
    """The specification. `own`: what `docker inspect` shows, Config and HostConfig."""
    shown, host = own["Config"], own["HostConfig"]
    user, group = _user(values)
    capabilities = [f"CAP_{name}" for name in _capabilities(values)]
    sets = ("bounding", "permitted", "effective") if user == 0 else ("bounding",)
    limits = [
        {"type": f"RLIMIT_{limit['Name'].upper()}", "soft": limit["Soft"], "hard": limit["Hard"]}
        for limit in host["Ulimits"]
    ]
    arguments = [*(shown["Entrypoint"] or ()), *shown["Cmd"]]
    namespaces = ["pid", "mount", "uts", *([] if host["IpcMode"] == "host" else ["ipc"])]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": user, "gid": group, "additionalGids": [int(number) for number in host["GroupAdd"] or ()]},
            "args": ["/sbin/docker-init", "--", *arguments] if "init" in values else arguments,
            "env": shown["Env"],
            "cwd": shown["WorkingDir"],
            "capabilities": dict.fromkeys(sets, capabilities),
            "rlimits": limits,
            "noNewPrivileges": "no-new-privileges" in (host["SecurityOpt"] or ()),
        },
        "root": {"path": str(rootfs), "readonly": host["ReadonlyRootfs"]},
        "hostname": shown["Hostname"],
        "mounts": [*_system_mounts(host), *_mounts(values)],
        "linux": {
            "cgroupsPath": f"/docker/{identifier}",
            "resources": {
                "devices": [{"allow": False, "access": "rwm"}],
                **({"pids": {"limit": host["PidsLimit"]}} if host["PidsLimit"] else {}),
            },
            "namespaces": [{"type": name} for name in namespaces],
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READ_ONLY),
            **({} if "seccomp=unconfined" in (host["SecurityOpt"] or ()) else {"seccomp": _seccomp()}),
        },
    }


def size(text: str) -> int:
    """Bytes that a size such as `8g` means."""
    number, unit = (text[:-1], text[-1].lower()) if text[-1:].isalpha() else (text, "")
    if unit not in _UNITS or not number.isdecimal():
        raise not_known(f"the size {text}")
    return int(number) * _UNITS[unit]


def volumes(values: Values) -> list[tuple[str, str, bool]]:
    """Directory of the host, place in the container, whether it may be written to."""
    found = []
    for text in values.get("volume", ()):
        source, place, *mode = text.split(":")
        if not source.startswith("/") or mode not in ([], ["ro"], ["rw"]):
            raise not_known(f"--volume={text}")
        found.append((source, place, mode != ["ro"]))
    return found


def _system_mounts(host: Json) -> list[Json]:
    def mount(place: str, kind: str, source: str, *options: str) -> Json:
        return {"destination": place, "type": kind, "source": source, "options": list(options)}

    shared = host["IpcMode"] == "host"
    return [
        mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        mount("/dev/shm", "bind", "/dev/shm", "rbind", "rw")  # noqa: S108 - inside the container
        if shared
        else mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", f"size={host['ShmSize']}"),  # noqa: S108
        *(mount(f"/etc/{name}", "bind", f"/etc/{name}", "rbind", "ro") for name in ("hosts", "resolv.conf")),
    ]


def _mounts(values: Values) -> list[Json]:
    tmpfs = [
        {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": [word for word in how.split(",") if word]}
        for place, how in (text.partition(":")[::2] for text in values.get("tmpfs", ()))
    ]
    bound = [
        {"destination": place, "type": "bind", "source": source, "options": ["rbind", "rw" if writable else "ro"]}
        for source, place, writable in volumes(values)
    ]
    if "init" in values:
        bound.append({"destination": "/sbin/docker-init", "type": "bind", "source": INIT, "options": ["rbind", "ro"]})
    return [*tmpfs, *bound]


def _seccomp() -> Json:
    refused = {"names": list(_REFUSED), "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    return {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [refused]}


def _capabilities(values: Values) -> list[str]:
    added = {name.upper().removeprefix("CAP_") for name in values.get("cap-add", ())}
    dropped = {name.upper().removeprefix("CAP_") for name in values.get("cap-drop", ())}
    if "ALL" in added:
        raise not_known("--cap-add=ALL")
    kept = [] if "ALL" in dropped else [name for name in _CAPABILITIES if name not in dropped]
    return [*kept, *sorted(added - set(kept))]


def _ulimit(text: str) -> tuple[str, int, int]:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    return name, _limit(soft), _limit(hard or soft)


def _limit(text: str) -> int:
    return (1 << 64) - 1 if text == "-1" else int(text)


def _user(values: Values) -> tuple[int, int]:
    text = _last(values, "user") or "0:0"
    user, _, group = text.partition(":")
    if not (user.isdecimal() and group.isdecimal()):
        raise not_known(f"--user={text}, which is not UID:GID,")
    return int(user), int(group)


def _last(values: Values, name: str) -> str:
    return values.get(name, [""])[-1]
