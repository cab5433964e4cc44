"""What the pages name is there: files, steps of tasks/, other pages and their headings."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")])
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

FOLDERS = "barewind|bench|docs|group_data|inventory|lab|tasks|templates|tests|tools"
NAMED_PATH = re.compile(rf"(?<![\w/.<>-])(?:{FOLDERS})/[\w/.*<>-]*[\w/*>]")
NAMED_STEP = re.compile(r"(?<![\w/.-])barewind\.tasks(?:\.\w+){2,}")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PLACEHOLDER = re.compile(r"[A-Z]{2,}|[<>]")  # SLICE, <release>
OF_USERS = {"group_data/green.py", "group_data/h200.py", "group_data/monitors.py"}  # examples of what a user has


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    lines = (line.lstrip("#").strip().lower() for line in page.read_text().splitlines() if line.startswith("#"))
    return {re.sub(r"[^\w -]", "", line).replace(" ", "-") for line in lines}


def is_there(path: str) -> bool:
    return path in OF_USERS or bool(PLACEHOLDER.search(path)) or any(ROOT.glob(path.rstrip("/")))


def has_function(step: str) -> bool:
    """Whether a step is a module of tasks/, or a function of one."""
    if (ROOT / (step.replace(".", "/") + ".py")).is_file():
        return True
    module, name = step.rsplit(".", 1)
    file = ROOT / (module.replace(".", "/") + ".py")
    return file.is_file() and name in {
        part.name for part in ast.parse(file.read_text()).body if isinstance(part, ast.FunctionDef)
    }


@EVERY_PAGE
def test_files_that_a_page_names_are_there(page: Path) -> None:
    assert [path for path in NAMED_PATH.findall(page.read_text()) if not is_there(path)] == []


@EVERY_PAGE
def test_steps_that_a_page_names_are_there(page: Path) -> None:
    assert [step for step in NAMED_STEP.findall(page.read_text()) if not has_function(step)] == []


@EVERY_PAGE
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(page.read_text()):
        name, _, heading = link.partition("#")
        if not name.startswith(("http://", "https://")):
            target = (page.parent / name) if name else page
            if not target.exists() or (heading and heading not in headings(target)):
                lost.append(link)
    assert lost == []


def test_the_readme_names_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert [page.name for page in ROOT.glob("docs/*.md") if f"](docs/{page.name})" not in text] == []
