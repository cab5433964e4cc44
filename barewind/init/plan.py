"""The files of a new site. Pure but for the templates."""

from __future__ import annotations

import ast

from barewind.templates import from_template, text_of

INVENTORY = "inventory/prod.py"
# What people run in a site, by the name of its file in tasks/, as that file's own first line tells it.
_TASKS = ("drain", "undrain", "restart", "rollback", "traffic")
_SET = (
    "ssh_user",
    "ssh_strict_host_key_checking",
    "_sudo",
    "_timeout",
    "lock_file",
)  # the keys of group_data/all.py that stay set


def files(version: str) -> dict[str, str]:
    """The text of each file of a new site by its path in it; `version` is Barewind's."""
    made = {
        name: from_template(f"init/{template}.j2", version=version)
        for name, template in {
            "README.md": "README.md",
            "config.py": "config.py",
            INVENTORY: "prod.py",
            "requirements.txt": "requirements.txt",
            ".gitignore": "gitignore",
        }.items()
    }
    return made | {
        "deploy.py": _runner("deploy", "The whole rollout: pyinfra inventory/prod.py deploy.py"),
        **{f"tasks/{name}.py": _runner(name, _first_line(name)) for name in _TASKS},
        "group_data/all.py": _all_keys(text_of("init/all.py.txt")),
    }


def _runner(name: str, about: str) -> str:
    return f'"""{about}"""\n\nfrom barewind import tasks\n\ntasks.include("{name}")\n'


def _first_line(name: str) -> str:
    from importlib import resources

    source = (resources.files("barewind.tasks") / f"{name}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]


def _all_keys(source: str) -> str:
    """The documented keys with only the connection's set: a default that is not repeated changes with Barewind."""
    lines = source.splitlines()
    for statement in ast.parse(source).body:
        if (
            isinstance(statement, ast.Assign)
            and isinstance(target := statement.targets[0], ast.Name)
            and target.id not in _SET
        ):
            for number in range(statement.lineno - 1, statement.end_lineno or statement.lineno):
                lines[number] = f"# {lines[number]}"
    return "\n".join(lines) + "\n"
