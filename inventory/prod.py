"""An example of a production fleet: put your hosts here. Groups carry the settings: see group_data/.

Each host's name, or its ssh_hostname, is its IP address on the fleet's network; otherwise set `address` beside it.
The addresses here are documentation examples (RFC 5737): nothing answers on them.
"""

hopper = [
    ("gpu-h1", {"ssh_hostname": "192.0.2.11"}),
    ("gpu-h2", {"ssh_hostname": "192.0.2.12"}),
]

blackwell = [
    ("gpu-b1", {"ssh_hostname": "192.0.2.21"}),
]

mi300x = [
    ("gpu-a1", {"ssh_hostname": "192.0.2.31"}),
]

balancers = [
    ("lb1", {"ssh_hostname": "192.0.2.2"}),
    ("lb2", {"ssh_hostname": "192.0.2.3"}),
]

# Hosts that watch the fleet (docs/monitoring.md); they need a password and a certificate: group_data/monitors.py
# monitors = [("mon1", {"ssh_hostname": "192.0.2.5"})]
