"""The images of real engines that a lab needs."""

from lab import state
from lab.images.engine_image import EngineImage
from lab.images.sglang_image import SGLANG
from lab.images.vllm_image import VLLM

_BY_NAME = {image.name: image for image in (VLLM, SGLANG)}


def engine_images(lab: state.Lab) -> list[EngineImage]:
    """The images that the hosts of a lab run, in a fixed order."""
    engines = {host.engine for host in lab.hosts}
    return [image for name, image in _BY_NAME.items() if name in engines]
