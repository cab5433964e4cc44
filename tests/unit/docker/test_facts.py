"""Docker Engine and images on a host: what becomes of a host's output, and what the scripts print in a real shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from barewind.docker.facts import DockerHost, ImagePresent
from tests.support.data_files import fact_tests
from tests.support.shell import Programs, Shell, printed

pytestmark = pytest.mark.filterwarnings("ignore:No command set for test")  # commands are run below

HERE = Path(__file__).parent

TestDockerHost = fact_tests(DockerHost, HERE)
TestImagePresent = fact_tests(ImagePresent, HERE)


@pytest.mark.parametrize("registries", ["[1]", '{"a": null}', '"x"'])
def test_damaged_output_does_not_raise(registries: str) -> None:
    DockerHost().process(["@@barewind:registries", registries, "@@barewind:end"])


def test_docker_facts(shell: Shell, programs: Programs) -> None:
    programs(
        docker="""echo '{"r:5000": {"Secure": false}, "docker.io": {"Secure": true}}'; echo '{"nvidia": {}, "runc": {}}'""",
        dpkg_query="echo 'hi  20.10.24 docker.io'",
        systemctl="echo $1 | sed 's/^is-//; s/active/active/; s/enabled/enabled/'",
    )
    facts = DockerHost().process(printed(shell, DockerHost().command(packages=["docker.io"], paths=[])))
    assert facts | {"daemon": ""} == {
        "packages": {"docker.io": {"version": "20.10.24", "held": True}},
        "files": {},
        "daemon": "",
        "active": True,
        "enabled": True,
        "insecure_registries": ["r:5000"],
        "runtimes": ["nvidia", "runc"],
    }


def test_image_facts(shell: Shell, programs: Programs) -> None:
    programs(docker='[ "$5" = "r/x@sha256:12" ] && echo present')
    for reference, present in (("r/x@sha256:12", True), ("r/x@sha256:34", False)):
        assert ImagePresent().process(printed(shell, ImagePresent().command(reference))) is present
