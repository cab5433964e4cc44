"""Names and paths that become words of commands and lines of files: one type each.

Every type is ASCII and has neither blanks nor quotes nor control characters, and no value begins with a dash, so that none can
add a word, a line or an option wherever it ends up. What is free text has a type as well (`Line`): it reaches programs byte for
byte, as one argument.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from barewind import secrets
from barewind.registry.reference import ImageName
from barewind.spec.values import domain, name_or_address, ports

LONGEST_LINE = 100_000  # bytes of a free text: Linux takes 128 KiB per argument, its name in front included (execve(2))
_LONGEST_NAME = 255  # characters: what a file system takes as a name
_LONGEST_IMAGE = 600  # characters: Docker takes 255 before the tag, 128 in it, 71 in a digest
_SHOWN = 80  # characters of a value in a message

_HOST = (
    r"[A-Za-z0-9@_\[][A-Za-z0-9_.:@/+\[\]-]{0,254}"  # pyinfra's connectors too: @local, @ssh/gpu1, @docker/image:tag
)
_DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_REGISTRY = rf"(?:{_DOMAIN}|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"  # OCI distribution specification, "Pulling manifests"
_IMAGE = rf"(?:{_REGISTRY}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
_PATH = r"/[A-Za-z0-9_./+-]+"
_URL = r"https?://[A-Za-z0-9\[][A-Za-z0-9_.:/~%\[\]-]*[A-Za-z0-9_.~%\]-]"
_PASSWORD = re.compile(r"(://)[^/@\s]*@")
_LOGIN = re.compile(r"""(^|['"\s=])[^/@\s'"]*:[^/@\s'"]*@""")  # user:password@, at the beginning of a word


def shown(value: object) -> str:
    """A value as a message may have it: in one line, printable, not too long, and without what has the form of a secret."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (RecursionError, ValueError):  # nested without end; a number of more digits than Python writes
        return kind(value)
    text = secrets.concealed(_LOGIN.sub(r"\1...@", _PASSWORD.sub(r"\1...@", text)))
    cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return ascii(cut) if isinstance(value, str) else cut


def kind(value: object) -> str:
    """What a value is, without a word of it."""
    return f"a value of type {type(value).__name__}"


def host_name_problem(name: str) -> str | None:
    """Why a name cannot be a host's, with the next step; None where it can."""
    if re.fullmatch(_HOST, name, re.ASCII) and not _climbs(name):
        return None
    return (
        f"host name {shown(name)}: only ASCII letters, digits and _ . : @ / + [ ] - may be in it, 255 at most, no .. and no dash "
        "in front; rename the host in the inventory"
    )


def group_name_problem(name: str) -> str | None:
    """Why a name cannot be a group's, with the next step; None where it can."""
    if re.fullmatch(r"@?[A-Za-z0-9_][A-Za-z0-9_-]{0,254}", name, re.ASCII):
        return None
    return (
        f"group name {shown(name)}: only ASCII letters, digits, _ and - may be in it; rename the group in the inventory"
    )


def _climbs(path: str) -> bool:
    return any(part in (".", "..") for part in path.split("/"))


def _matching(pattern: str, wanted: str, *, path: bool = False) -> Callable[[str], str]:
    def check(value: str) -> str:
        if len(value) <= _LONGEST_NAME and re.fullmatch(pattern, value, re.ASCII) and not (path and _climbs(value)):
            return value
        raise ValueError(f"found {shown(value)}; write {wanted}")

    return check


def _without_login(url: str) -> str:
    if _PASSWORD.search(url):
        raise ValueError(
            f"found {shown(url)}, which has a login in it; leave it out: 'hub_token_file' takes the hub's token by file, and "
            "'registry_logins' the logins of registries"
        )
    return _matching(_URL, "an http(s) URL in ASCII letters, without a slash at its end")(url)


def _image(name: str) -> str:
    if len(name) <= _LONGEST_IMAGE and re.fullmatch(_IMAGE, name, re.ASCII):
        return name
    where = re.sub(r"^[^/@\s]*:[^/@\s]*@", "...@", name)
    login = "; a login belongs in a file that 'registry_logins' names" if where != name else ""
    raise ValueError(f"found {shown(where)}; write registry/repository:tag, or ...@sha256:<64 hex digits>{login}")


def _line(text: str) -> str:
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError(f"found {shown(text)}; write text in one line, without control characters")
    if len(text.encode()) > LONGEST_LINE:
        raise ValueError(f"found {len(text.encode())} bytes; a program's argument may have {LONGEST_LINE}: shorten it")
    return text


def _file(name: str) -> str:
    if secrets.looks_like_one(name):
        raise ValueError("is a secret itself; write it to a file of mode 0600, and name that here")
    if name.isprintable() and name.strip() == name and name:
        try:
            Path(name).expanduser()
        except RuntimeError:
            raise ValueError(
                f"found {shown(name)}, in the home of a user whom this machine does not know; correct it"
            ) from None
        return name
    # Not what it says: somebody may have written the secret itself.
    raise ValueError(
        "is no path, or has a line break or a blank at one of its ends; write the path of a file on this machine"
    )


def _network(text: str) -> str:
    try:  # a zone (fe80::%eth0/64) may be any text, and means something on one host only
        return str(ipaddress.ip_network(text.replace("%", " ")))
    except ValueError:
        raise ValueError(
            f"found {shown(text)}; write a network or an address, without a zone and without bits of a host behind its mask: "
            "10.1.0.0/16, 2001:db8::/32"
        ) from None


Line = Annotated[str, AfterValidator(_line)]
# What a person writes in a line; --data makes a number of "5".
Words = Annotated[Line, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)]
VariableName = Annotated[
    str, AfterValidator(_matching(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable: HF_TOKEN"))
]
Registry = Annotated[
    str, AfterValidator(_matching(_REGISTRY, "a registry's name or address, with its port: host:5000"))
]
Network = Annotated[str, AfterValidator(_network)]
# As browsers write it (RFC 6454): small letters, a port only where it is not the scheme's own.
Origin = Annotated[
    str,
    AfterValidator(
        _matching(
            r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?", "a web page's origin: https://chat.example.com"
        )
    ),
]
# A method and a path as clients send it: nothing that servers take for another path (//, .., %2f, a / at the end).
EndpointPath = Annotated[
    str,
    AfterValidator(
        _matching(r"(GET|POST) (/[A-Za-z0-9_~-]+(\.[A-Za-z0-9_~-]+)*)+", 'a method and a path: "POST /v1/embeddings"')
    ),
]
Domain = Annotated[str, AfterValidator(domain)]
NameOrAddress = Annotated[str, AfterValidator(name_or_address)]
Ports = Annotated[int | str, AfterValidator(ports)]
Url = Annotated[str, AfterValidator(_without_login)]
Image = Annotated[ImageName, AfterValidator(_image)]
HostPath = Annotated[
    str, AfterValidator(_matching(_PATH, "an absolute path in ASCII letters, digits and _ . + - without ..", path=True))
]
# On this machine, where nothing is run by its name: blanks and other letters are welcome.
ControllerFile = Annotated[str, AfterValidator(_file)]
Revision = Annotated[
    str,
    AfterValidator(
        _matching(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,254}", "a branch, tag or commit: main, refs/pr/1", path=True)
    ),
]
ModelName = Annotated[
    str,
    AfterValidator(_matching(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+-]*", "a name of ASCII letters, digits and _ . : / @ + -")),
]
GroupName = Annotated[
    str, AfterValidator(_matching(r"@?[A-Za-z0-9_][A-Za-z0-9_-]*", "the name of a group of the inventory"))
]
Version = Annotated[str, AfterValidator(_matching(r"[0-9]+\.[0-9]+(\.[0-9]+)?", "a version: 1.2 or 1.2.3"))]
ExactVersion = Annotated[str, AfterValidator(_matching(r"[0-9]+\.[0-9]+\.[0-9]+", "an exact version: 1.2.3"))]
# A risk that is accepted bears the name of the option or of the variable that brings it.
RiskName = Annotated[str, AfterValidator(_matching(r"[A-Za-z][A-Za-z0-9_-]*", "the name of an option or variable"))]


def weights_place(place: str) -> str:
    """A directory of the hosts or a URL.

    Raises:
        ValueError: it is neither.
    """
    if "://" in place:
        return _without_login(place)
    return _matching(
        r"/[A-Za-z0-9_./+-]*[A-Za-z0-9_+-]", "an absolute path or an http(s) URL, no slash at its end", path=True
    )(place)


WeightsPlace = Annotated[str, AfterValidator(weights_place)]
