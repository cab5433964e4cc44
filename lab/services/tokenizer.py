"""The tiny models' tokenizer: Mistral's vocabulary of 2024, described as the tokenizers of 2026 are.

mistral_common brings no newer one. Version 15 is the first in which a request may say how much to reason, by [MODEL_SETTINGS];
engines refuse `reasoning_effort` for all before.
"""

import json

# The order in which mistral_common lists them (1.11), which is that of their ids; the rest of the thousand are fillers.
SPECIAL_TOKENS = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]"),
    *(
        "[/TOOL_RESULTS]",
        "[TOOL_CALLS]",
        "[IMG]",
        "<pad>",
        "[IMG_BREAK]",
        "[IMG_END]",
        "[PREFIX]",
        "[MIDDLE]",
        "[SUFFIX]",
    ),
    *("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]", "[ARGS]", "[CALL_ID]", "[AUDIO]", "[BEGIN_AUDIO]"),
    *("[TRANSCRIBE]", "[THINK]", "[/THINK]", "[STREAMING_PAD]", "[STREAMING_WORD]", "[NEXT_AUDIO_TEXT]"),
    *("[REPEAT_AUDIO_TEXT]", "[MODEL_SETTINGS]", "[/MODEL_SETTINGS]"),
)
IMAGE_TOKEN = SPECIAL_TOKENS.index("[IMG]")
IMAGE = {"image_patch_size": 14, "max_image_size": 1540, "spatial_merge_size": 2}  # pixels, pixels, patches
EFFORTS = ("none", "high")


def made_of(vocabulary: bytes) -> bytes:
    """tekken.json, made of the one that mistral_common brings."""
    document = json.loads(vocabulary)
    document["config"]["version"] = "v15"
    document["special_tokens"] = [
        {"rank": rank, "token_str": token, "is_control": True} for rank, token in enumerate(SPECIAL_TOKENS)
    ]
    document["image"] = IMAGE
    effort = {"type": "enum", "values": list(EFFORTS), "default": EFFORTS[0], "accepts_none": True}
    document["model_settings_builder"] = {"reasoning_effort": effort}
    return json.dumps(document, ensure_ascii=False).encode()
