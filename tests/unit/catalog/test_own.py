"""A site's own catalog: what it adds, what it cannot change, and that everything wrong is said with file, entry and key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from barewind import catalog
from barewind.catalog import own
from barewind.engines import sizing
from barewind.errors import BarewindError
from barewind.estimate.lines import lines
from barewind.plan import checks
from barewind.site.read import read_site
from barewind.spec.site import HostEntry
from tests.support.factories import MEDIUM, engine_spec, entry, plan

ACCELERATOR: dict[str, Any] = {
    "vendor": "nvidia",
    "architecture": "hopper",
    "names": ["NVIDIA H100 96GB HBM3"],
    "device_ids": ["2338"],
    "memory_mib": 97000,
    "fp8": True,
    "driver_floor": {"cuda12": "525", "cuda13": "580"},
    "source": "nvidia-smi on our hosts",
}
MODEL: dict[str, Any] = {
    "revision": "main",
    "context_length": 65536,
    "shape": {
        "layers": 88,
        "hidden": 12288,
        "heads": 96,
        "kv_heads": 8,
        "head_dim": 128,
        "intermediate": 28672,
        "vocabulary": 131072,
    },
    "weights": {"total": 60 * 2**30, "vision": 0},
    "precision": "fp8",
    "layouts": {"mistral": ["params.json", "consolidated*.safetensors", "tekken.json"]},
    "draft": f"{MEDIUM}-EAGLE",
    "host_memory_gib": 64,
    "source": "our own run",
}
NAME, TUNED = "h100-96", "example/Medium-tuned"


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    own.use([])


def written(folder: Path, document: object, name: str = "mine.yaml") -> str:
    file = folder / name
    file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return str(file)


def host(name: str = "10.0.0.7", **data: Any) -> HostEntry:
    return entry(name, "gpus", **{"accelerator": NAME, "accelerator_count": 2, "channel": "stable"} | data)


def test_an_accelerator_and_a_model_of_a_sites_own_are_planned(tmp_path: Path) -> None:
    file = written(tmp_path, {"accelerators": {NAME: ACCELERATOR}, "models": {TUNED: MODEL}})
    site = read_site([host(catalog=[file], model=TUNED)])
    planned = plan(site.engines["10.0.0.7"])
    assert planned.spec.accelerator == NAME
    assert (planned.revisions[0][0], planned.revisions[0][2]) == (TUNED, "mistral")
    assert planned.sizing.context_length == 65536
    assert checks.problems(planned) == []


def test_another_sites_inventory_knows_nothing_of_it(tmp_path: Path) -> None:
    file = written(tmp_path, {"accelerators": {NAME: ACCELERATOR}})
    read_site([host(catalog=[file])])
    with pytest.raises(BarewindError, match=f"unknown accelerator '{NAME}'"):
        read_site([host()])


def test_a_changed_figure_changes_what_fits(tmp_path: Path) -> None:
    contexts = []
    for memory in (97000, 160000):
        own.use([written(tmp_path, {"accelerators": {NAME: ACCELERATOR | {"memory_mib": memory}}})])
        contexts.append(sizing.size(engine_spec(accelerator=NAME, accelerator_count=2)).context_length)
    assert contexts[0] < contexts[1] == 262144


def test_hosts_must_agree(tmp_path: Path) -> None:
    file = written(tmp_path, {"accelerators": {NAME: ACCELERATOR}})
    with pytest.raises(BarewindError, match="key 'catalog': must be the same on every host"):
        read_site([host(catalog=[file]), host("10.0.0.8", accelerator="h200")])


def without(values: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != key}


def accelerator(**changes: Any) -> dict[str, Any]:
    return {"accelerators": {NAME: ACCELERATOR | changes}}


def model(**changes: Any) -> dict[str, Any]:
    return {"models": {TUNED: MODEL | changes}}


WRONG: list[tuple[object, str]] = [
    (
        {"accelerators": {NAME: without(ACCELERATOR, "memory_mib")}},
        f"accelerators, entry '{NAME}', key 'memory_mib': Field required",
    ),
    (
        {"accelerators": {NAME: without(ACCELERATOR, "source")}},
        f"accelerators, entry '{NAME}', key 'source': Field required",
    ),
    (accelerator(vendor="intel"), "key 'vendor': Input should be one of nvidia, amd, none"),
    (accelerator(memory_mib=0), "'memory_mib' must be more than 0"),
    (accelerator(tool_mib=96000), "'tool_mib' is what the vendor's tool reports, which is never less"),
    (accelerator(device_ids=["10de:2338"]), "key 'device_ids.0': String should match pattern"),
    (accelerator(driver_floor={}), "'driver_floor' must say which driver images of cuda need"),
    (accelerator(driver_floor={"cuda": "525"}), "'driver_floor' must say which driver images of cuda need"),
    (accelerator(driver_floor={"cuda13": "new"}), "key 'driver_floor.cuda13': new is no version"),
    (accelerator(memry=1), "key 'memry': Extra inputs are not permitted"),
    ({"accelerators": {NAME: "h100"}}, f"accelerators, entry '{NAME}', key '': Input should be a valid dictionary"),
    (
        {"accelerators": {"h100": ACCELERATOR}},
        "entry 'h100': Barewind's catalog has it, and its figures stay what they are",
    ),
    ({"accelerators": {"gb200": ACCELERATOR}}, "entry 'gb200': is not served: its hosts are arm64"),
    ({"accelerators": {"H100 96": ACCELERATOR}}, "entry 'H100 96': is no name for one; write it as in a100-40"),
    ({"accelerators": {7: ACCELERATOR}}, "entry 7: is no name for one"),
    ({"models": {"../etc/passwd": MODEL}}, "entry '../etc/passwd': is no name for one; write it as in owner/name"),
    ({"models": {"a/..": MODEL}}, "entry 'a/..': is no name for one"),
    ({"models": {MEDIUM: MODEL}}, f"entry '{MEDIUM}': Barewind's catalog has it"),
    (
        model(draft="example/none"),
        f"models, entry '{TUNED}', key 'draft': example/none is in no catalog; add an entry for it",
    ),
    (model(draft="barewind-lab/Mistral-Tiny-EAGLE"), "has other sizes (hidden, vocabulary) than the model"),
    (model(layouts={}), "key 'layouts': Dictionary should have at least 1 item"),
    (model(layouts={"mistral": []}), "key 'layouts.mistral': Tuple should have at least 1 item"),
    (model(revision="main; reboot"), "key 'revision': String should match pattern"),
    (model(revision="../main"), "key 'revision': String should match pattern"),
    (model(weights={"total": 5, "vision": 5}), "'weights.vision' is part of 'weights.total' and must be less"),
    (model(shape=MODEL["shape"] | {"kv_heads": 7}), "'shape.heads' must be a multiple of 'shape.kv_heads'"),
    (model(precision="int4"), "key 'precision': Input should be 'nvfp4', 'fp8' or 'bf16'"),
    ({"accelerator": {}}, "section 'accelerator': unknown; the sections are accelerators, models and speeds"),
    ({"accelerators": [NAME]}, "section 'accelerators': write entries in it"),
    ("", "holds no sections; write accelerators, models and speeds"),
    ("- a", "holds no sections"),
    ("accelerators: {", "is no YAML (while parsing a flow node"),
]


@pytest.mark.parametrize(("document", "said"), WRONG)
def test_what_is_wrong_is_one_line_with_file_entry_and_key(tmp_path: Path, document: object, said: str) -> None:
    file = written(tmp_path, document)
    with pytest.raises(BarewindError) as caught:
        read_site([host(accelerator="h200", catalog=[file])])
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"group_data/site.py: key 'catalog': {file}: ")
    assert said in line


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    first = written(tmp_path, {"accelerators": {NAME: {"vendor": "nvidia"}}})
    second = written(tmp_path, {"models": {TUNED: MODEL | {"draft": "no/draft"}}}, "second.yaml")
    with pytest.raises(BarewindError) as caught:
        own.use([first, second])
    lines = str(caught.value).splitlines()
    missing = {line.split("'")[3] for line in lines if line.startswith(first)}
    assert missing == {key for key in ACCELERATOR if key != "vendor"}
    assert [line for line in lines if line.startswith(second)]
    assert NAME not in catalog.accelerators()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda file: file.unlink(missing_ok=True), "no such file; correct the key 'catalog' (paths begin"),
        (lambda file: file.mkdir(), "cannot be read (Is a directory)"),
        (lambda file: file.write_bytes(b"accelerators: \xff"), "is no UTF-8 text"),
        (lambda file: file.write_text("#" * (2**20 + 1)), "is larger than 1048576 bytes"),
        (lambda file: file.write_text("[" * 5000), "is no YAML"),
    ],
    ids=["missing", "a folder", "bytes", "large", "deep"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, make: Any, said: str) -> None:
    file = tmp_path / "mine.yaml"
    make(file)
    with pytest.raises(BarewindError) as caught:
        own.use([str(file)])
    assert str(caught.value).startswith(f"{file}: {said}")


@pytest.mark.parametrize("value", ["mine.yaml", 7, [7], {"mine.yaml": 1}, [["a"]]])
def test_the_key_wants_a_list_of_files(value: Any) -> None:
    with pytest.raises(BarewindError, match="key 'catalog"):
        read_site([host(accelerator="h200", catalog=value)])


def test_the_same_entry_in_two_files_is_one_too_many(tmp_path: Path) -> None:
    first = written(tmp_path, accelerator())
    second = written(tmp_path, accelerator(memory_mib=1), "second.yaml")
    with pytest.raises(BarewindError, match=r"second\.yaml: accelerators, entry 'h100-96': stands in another file too"):
        own.use([first, second])


SPEED = {"layer_us": 90.0, "prompt_share": 0.4, "error_percent": 4, "source": "barewind tune, ann@ws1, 2026-11-30"}


def test_what_a_site_has_measured_stands_in_its_estimates_until_the_next_site(tmp_path: Path) -> None:
    before = catalog.speeds()["mi300x"]
    own.use([written(tmp_path, {"speeds": {"mi300x": SPEED}})])
    now = catalog.speeds()["mi300x"]
    assert (now.layer_us, now.prompt_share, now.error_percent, now.measured) == (90, 0.4, 4, True)
    assert now.memory_tb_s == before.memory_tb_s
    assert own.state()
    own.use([])
    assert catalog.speeds()["mi300x"] == before


def test_estimates_follow_it_and_say_so(tmp_path: Path) -> None:
    spec = engine_spec(accelerator="mi300x")

    def told() -> list[str]:
        return list(lines(spec, sizing.size(spec)))

    first = told()
    own.use([written(tmp_path, {"speeds": {"mi300x": SPEED}})])
    second = told()
    assert first[0] != second[0]
    assert first[1].endswith("measured on this hardware: no")
    assert second[1].startswith("within  4 %")
    assert second[1].endswith("measured on this hardware: yes")


@pytest.mark.parametrize(
    ("name", "entry", "problem"),
    [
        ("a100", SPEED, "entry 'a100': Barewind's catalog knows nothing of how fast it is"),
        ("mi300x", SPEED | {"layer_us": -1}, "entry 'mi300x', key 'layer_us'"),
        ("mi300x", SPEED | {"memory_tb_s": 9}, "entry 'mi300x', key 'memory_tb_s'"),
    ],
)
def test_a_wrong_speed_is_said(name: str, entry: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(BarewindError, match=problem):
        own.use([written(tmp_path, {"speeds": {name: entry}})])
    assert not catalog.speeds()["mi300x"].measured
