"""Checks whether SGLang with some settings could start; if not, gives its reason."""

import json
from pathlib import Path
from typing import Any

from lab.standin.settings import Settings
from lab.standin.startup import DEVICES, OUT_OF_MEMORY, StartError, accelerators

KILLED = 137  # exit status where a child process fails: the server kills its whole tree, itself included
UNTOLD_LENGTH = 2048  # tokens; what SGLang takes where config.json says nothing
TOKENIZERS = ("tekken.json", "tokenizer.json")


def load(settings: Settings, devices: Path = DEVICES) -> int:
    """Check accelerators, model and draft in SGLang's order; returns the tokens that a request may have at most.

    Raises:
        StartError: the real engine would not start.
    """
    present = accelerators(devices)
    if settings.needs_accelerators and present.count == 0:
        raise StartError(
            "RuntimeError: No accelerator (CUDA, XPU, HPU, NPU, MUSA, MPS) or platform plugin is available."
        )
    length = _length(settings, _config(settings.model))
    if settings.draft is not None:
        _config(settings.draft, "params.json")
    if not any((Path(settings.model) / name).exists() for name in TOKENIZERS):
        raise StartError("ValueError: Couldn't instantiate the backend tokenizer from one of: ...")
    if settings.needs_accelerators and present.count < settings.world_size:
        vendor = "HIP" if present.vendor == "amd" else "CUDA"
        raise _in_child(f"torch.AcceleratorError: {vendor} error: invalid device ordinal")
    if settings.fail == "oom":
        raise _in_child(str(OUT_OF_MEMORY))
    for model in (settings.model, *([settings.draft] if settings.draft else [])):
        if not any(Path(model).glob("*.safetensors")):
            raise _in_child(f"RuntimeError: Cannot find any model weights with `{model}`")
    return length


def _in_child(reason: str) -> StartError:
    killed = "Received sigquit from a child process. It usually means the child failed."
    return StartError(f"{reason}\n{killed}", status=KILLED)


def _config(model: str, *instead: str) -> dict[str, Any]:
    """The model's configuration. `instead`: files that a model may have in its place, of which nothing is read."""
    folder = Path(model)
    if not folder.is_dir():
        raise StartError(
            f"OSError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '{model}'. Use `repo_type` "
            "argument if needed. (No such directory; the stand-in downloads nothing.)"
        )
    if any((folder / name).exists() for name in instead):
        return {}
    try:
        config = json.loads((folder / "config.json").read_text())
    except OSError:
        config = None
    except ValueError:
        file = folder / "config.json"
        raise StartError(f"OSError: It looks like the config file at '{file}' is not a valid JSON file.") from None
    if not isinstance(config, dict) or "model_type" not in config:
        raise StartError(
            f"ValueError: Unrecognized model in {model}. Should have a `model_type` key in its config.json."
        )
    return config


def _length(settings: Settings, config: dict[str, Any]) -> int:
    text = config.get("text_config") or config
    derived = int(text.get("max_position_embeddings") or UNTOLD_LENGTH)
    wanted = settings.max_model_len or derived
    if wanted > derived and not settings.long_contexts:
        raise StartError(
            f"ValueError: Warning: User-specified context_length ({wanted}) is greater than the derived context_length "
            f"({derived}). This may lead to incorrect model outputs or CUDA errors. Note that the derived context_length "
            "may differ from max_position_embeddings in the model's config. To allow overriding this maximum, set the env "
            "var SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN=1"
        )
    return wanted
