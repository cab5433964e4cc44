"""An engine that speaks like vLLM 0.32 and computes nothing: for lab cases that are about hosts, not about a model.

It stands for the image `vllm/vllm-openai:nightly` on hosts of any kind: ready in half a second, 25 MB of memory, no
accelerator touched. The same as the real engine, measured against it (tests/unit/expected/standin/):
- the command line: `vllm serve MODEL OPTIONS` of the recorded options (barewind/catalog/flags/), with argparse's words
  and status 2 for what vLLM does not know;
- the start: refused connections until it is loaded; without its model, its draft or enough accelerators it ends with
  status 1 and the real engine's reason;
- the API: /v1/models, /v1/chat/completions, /v1/completions with and without streaming, tools, images, reasoning, errors;
  /health, /version, /ping, /load, and the metrics that dashboards and gates read;
- batching: max_num_seqs requests at a time, the others wait;
- SIGTERM: without --shutdown-timeout running requests end with finish_reason "abort"; with it they finish, while /health
  stays 200 and every new request is answered 500; idle connections are closed after VLLM_HTTP_TIMEOUT_KEEP_ALIVE seconds.

Different:
- the text means nothing and is always the same: as many words as max_tokens (64 where none is given), whatever `stop`,
  `temperature` or `logprobs` say; a tool is called when tool_choice demands it, or when the last message names the tool;
- tokens are counted by words; every one takes the same time, prompts take none;
- the real engine may also leave requests hanging at SIGTERM, for ever (STANDIN_FAIL=hang-on-stop does that); one that was
  admitted but not yet scheduled then gets an empty answer;
- accelerators are counted in /dev, so that neither a driver too old nor NVLink is noticed; drafts are never accepted, and
  no prompt is found in a cache;
- no /v1/responses, /v1/messages, embeddings, LoRA, TLS or `--config` file.

Environment, beside vLLM's own:
    STANDIN_TOKENS_PER_SECOND   of each request (50)
    STANDIN_START_SECONDS       from start to the first connection taken (0.5)
    STANDIN_ACCELERATORS        "none": start without (so does VLLM_TARGET_DEVICE=cpu)
    STANDIN_VERSION             what /version says (0.32.0)
    STANDIN_FAIL                crash: end with status 1 once loaded; oom: run out of memory while loading; hang: take
                                requests and never answer; garbage: answer nonsense; slow: half the speed;
                                no-tools: answer with text where a tool's call is demanded;
                                errors: answer every request with 500, healthy as it says it is;
                                hang-on-stop: at SIGTERM leave requests unanswered and stay
    STANDIN_FAIL_AFTER          seconds it works before crash, hang, garbage, slow, no-tools or errors set in (0)
    STANDIN_DROPPED_OPTIONS     recorded options that this build does not know any more: "--enforce-eager ..."
"""
