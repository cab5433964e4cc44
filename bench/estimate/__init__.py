"""The estimates of `barewind plan` against every published run: `.venv/bin/python -m bench.estimate`. Connects to nothing.

A published run sends a number of requests, so many at a time, and ends: its first prompts come at once, and at its end engines
are not full. So each is replayed, step by step, by the law of a step that estimates go by (replay.py). Where a run says what a
token took, that is compared with the closed formula of the plan too.
"""
