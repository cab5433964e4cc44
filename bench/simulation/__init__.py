"""Hosts that pass weights on, without machines: the program's own decisions and news, on a clock and a network that are imagined.

    python -m bench.simulation [--hosts 40 1000] [--parts 1000] [--seconds 100]

Real are State, news.py, links.py, schedule.py and Admission of barewind/weights/agent/; imagined are threads, connections and
bytes. Every host and the hub have a link of one rate, each way, on which transfers queue up.
"""
