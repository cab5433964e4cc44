"""Checks whether vLLM with some settings could start; if not, gives its reason."""

import json
from pathlib import Path
from typing import Any

from lab.standin.settings import Settings
from lab.standin.startup import DEVICES, OUT_OF_MEMORY, Accelerators, StartError, accelerators

DERIVED_LENGTH = 128000  # tokens; what vLLM takes where params.json says nothing


def load(settings: Settings, devices: Path = DEVICES) -> int:
    """Check accelerators, model and draft in vLLM's order; returns the tokens that a request may have at most.

    Raises:
        StartError: the real engine would not start.
    """
    if settings.auto_tools and not settings.tool_parser:
        raise StartError("TypeError: Error: --enable-auto-tool-choice requires --tool-call-parser")
    present = accelerators(devices)
    if settings.needs_accelerators and present.count == 0:
        raise StartError(
            "RuntimeError: Failed to infer device type, please set the environment variable "
            "`VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging to help debug the issue."
        )
    length = _length(settings, _parameters(settings.model, "ModelConfig"))
    if settings.needs_accelerators and present.count < settings.world_size:
        raise StartError(_too_few(present, settings.world_size))
    if settings.draft is not None:
        _parameters(settings.draft, "SpeculativeConfig")
    if settings.fail == "oom":
        raise OUT_OF_MEMORY
    return length


def _parameters(model: str, config: str) -> dict[str, Any]:
    def invalid(finding: str) -> StartError:
        kind = "[type=value_error, input_type=ArgsKwargs]"
        text = f"1 validation error for {config}\n  Value error, {finding} {kind}"
        return StartError(f"pydantic_core._pydantic_core.ValidationError: {text}")

    folder = Path(model)
    if not folder.is_dir():
        raise invalid(
            f"Repo id must be in the form 'repo_name' or 'namespace/repo_name': '{model}'. Use `repo_type` argument "
            "if needed. (No such directory; the stand-in downloads nothing.)"
        )
    try:
        parameters = json.loads((folder / "params.json").read_text())
    except OSError:
        raise invalid(
            f"Failed to load mistral 'params.json' config for model {model}. Please check if the model is a "
            "mistral-format model and if the config file exists."
        ) from None
    except ValueError as error:
        raise StartError(f"json.decoder.JSONDecodeError: {error} ({folder / 'params.json'})") from None
    if not isinstance(parameters, dict):
        raise StartError("AssertionError: params.json holds no JSON object")
    return parameters


def _length(settings: Settings, parameters: dict[str, Any]) -> int:
    derived = int(parameters.get("max_position_embeddings") or DERIVED_LENGTH)
    wanted = settings.max_model_len or derived
    if wanted > derived and not settings.long_contexts:
        raise StartError(
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
            f"  Value error, User-specified max_model_len ({wanted}) is greater than the derived max_model_len "
            f"(max_position_embeddings={float(derived)} or model_max_length=None in model's config.json). To allow "
            "overriding this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1. "
            "[type=value_error, input_type=ArgsKwargs]"
        )
    return wanted


def _too_few(present: Accelerators, wanted: int) -> str:
    if present.vendor == "amd":  # vLLM counts on CUDA only: with ROCm a worker fails
        return "torch.AcceleratorError: HIP error: invalid device ordinal"
    return (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ParallelConfig\n"
        f"  Value error, World size ({wanted}) is larger than the number of available GPUs ({present.count}) in this "
        "node. If this is intentional and you are using:\n- ray, set '--distributed-executor-backend ray'.\n"
        "- multiprocessing, set '--nnodes' appropriately. [type=value_error, input_type=ArgsKwargs]"
    )
