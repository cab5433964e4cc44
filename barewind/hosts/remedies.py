"""What helps when a host cannot be reached, or does not let commands run as root. Pure."""

from __future__ import annotations

import re

# What pyinfra, paramiko and sudo say when they do not come through, and what helps.
_REMEDIES = (
    (
        r"No host key for",
        "its key is not in known_hosts: compare its fingerprint with the host's own (ssh-keygen -lf "
        "/etc/ssh/ssh_host_ed25519_key.pub there), then: ssh-keyscan HOST >> ~/.ssh/known_hosts",
    ),
    (
        r"Host key for \S+ does not match",
        "it has another key than known_hosts says: if it was installed anew, ssh-keygen -R HOST and add the new one; if not, "
        "somebody is in between",
    ),
    (
        r"[Kk]ey file .*is encrypted",
        "the key has a passphrase: load it into an agent (ssh-add), or set ssh_key_password",
    ),
    (
        r"Authentication error|No authentication methods",
        "sshd refuses this key or user: correct ssh_user and ssh_key, load the key into the agent (ssh-add), or add it to the "
        "user's authorized_keys",
    ),
    (
        r"sudo: .*(password is required|terminal is required)|sudo: a password",
        "sudo wants a password: allow the user to run everything without one (NOPASSWD), or set _sudo_password",
    ),
    (
        r"not in the sudoers|may not run sudo|sudo: (command )?not found",
        "the user needs sudo: add it to the group sudo",
    ),
    (
        r"Name or service not known|nodename nor servname|name resolution|getaddrinfo",
        "its name does not resolve: set ssh_hostname to its address",
    ),
    (
        r"timed out|Unable to connect to port|refused|[Nn]o route|unreachable",
        "nothing answers there: is the host up and sshd running, are its address and ssh_port right, does a firewall or a route "
        "keep this machine out?",
    ),
)


def known_remedy(problem: str) -> str:
    """What helps against the message of a connection or of sudo; "" where that is not known."""
    return next((text for pattern, text in _REMEDIES if re.search(pattern, problem)), "")
