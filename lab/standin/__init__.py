"""An engine with the interfaces of vLLM 0.32 or SGLang 0.5.23 that computes nothing: for lab cases about hosts, not models.

It stands for the images `vllm/vllm-openai:nightly` and `lmsysorg/sglang:v0.5.23` on hosts of any kind: ready in half a second,
30 MB of memory, no accelerator used. What is the same for both stands here, what is an engine's own in its folder (`vllm/`,
`sglang/`), as a `Dialect`. The same as the real engines, and compared with them (tests/conformance/expected/):
- the command line: `vllm serve MODEL OPTIONS`, `python3 -m sglang.launch_server OPTIONS` with the recorded options
  (barewind/catalog/options/); what the engine does not know ends with argparse's message and status 2;
- the start: connections are refused until it is loaded; without its model, its draft or enough accelerators it ends with the
  real engine's reason and status. SGLang then warms up: it answers, while /ready and /health say 503;
- the API: /v1/models, /v1/chat/completions, /v1/completions with and without streaming, tools, images, reasoning, errors;
  vLLM's /health, /version, /ping, /load; SGLang's /ready, /health (which takes a second), /ping, /model_info; and the metrics
  that dashboards and gates read;
- batching: max_num_seqs (SGLang: max-running-requests) requests at a time, the others wait; vLLM sends them headers, SGLang
  nothing before their first token;
- SIGTERM to vLLM: without --shutdown-timeout running requests end with finish_reason "abort"; with it they finish, while
  /health stays 200 and every new request is answered 500. To SGLang: running requests finish, new ones are taken as well,
  while /ready, /health and /ping say 503; every 5 seconds it looks whether any is left, and ends when none is;
- idle connections are closed after VLLM_HTTP_TIMEOUT_KEEP_ALIVE or SGLANG_TIMEOUT_KEEP_ALIVE seconds.

It differs:
- the text means nothing and is always the same: as many words as max_tokens (64 if there is none), whatever `stop`,
  `temperature`, `logprobs` or `response_format` are; a tool is called when tool_choice demands it, or when the last message
  names the tool;
- a token is a word; each takes the same time, prompts take none;
- at SIGTERM the real vLLM may also leave requests hanging for ever (STANDIN_FAIL=hang-on-stop does that); a request
  that was admitted but not yet scheduled then gets an empty answer;
- accelerators are counted in /dev, so that neither a driver too old nor NVLink is noticed; drafts are never accepted, and
  no prompt is in a cache;
- no /v1/responses, /v1/messages, embeddings, LoRA, TLS or `--config` file;
- of SGLang: images are not decoded, so a broken one is taken; of several mistakes in a part of a message only the fact is
  told, not pydantic's list; a taken port is noticed at once, where the real one loads first and then waits two minutes;
  /health does not make /ready fail after it has failed itself; how many requests run and wait is told at each step, by the real
  one every 40; no /generate, /server_info, /v1/loads, no `embedding` in /model_info, no --admin-api-key;
  --language-model-only changes nothing; --load-format mistral does not make it take vLLM's layout; its words for too few
  accelerators are guessed.

Environment, besides the engines' own:
    STANDIN_TOKENS_PER_SECOND   of each request (50)
    STANDIN_START_SECONDS       from start to the first connection that is accepted (0.5)
    STANDIN_STOP_SECONDS        SGLang: between two looks whether requests are left after SIGTERM (5)
    STANDIN_ACCELERATORS        "none": start without (so does VLLM_TARGET_DEVICE=cpu; SGLANG_USE_CPU_ENGINE=1, --device cpu)
    STANDIN_VERSION             version in /version, or in SGLang's first log line (0.32.0, 0.5.23)
    STANDIN_FAIL                crash: die once loaded (SGLang: nothing comes for 5 s, then connections break off, status 137);
                                oom: run out of memory while loading; hang: accept requests and never answer (SGLang's
                                /health then fails after 20 s); garbage: answer nonsense; slow: half the speed;
                                no-tools: answer with text where a tool's call is demanded;
                                errors: answer every request with 500, while /health says 200;
                                hang-on-stop: at SIGTERM leave requests unanswered and stay
    STANDIN_FAIL_AFTER          seconds until crash, hang, garbage, slow, no-tools or errors set in (0)
    STANDIN_DROPPED_OPTIONS     recorded options that this build does not know any more: "--enforce-eager ..."
"""
