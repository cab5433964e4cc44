"""Every key a user may set, with its default or, commented out, an example. Narrower groups and hosts override it.

pyinfra's precedence: --data > host > groups > all. Unknown keys are errors; keys of your own begin with x_.
"""

# --- Connection (pyinfra's own keys; see its documentation for more) ---------------------------------------------------

ssh_user = "ops"
# ssh_key = "~/.ssh/id_ed25519"
ssh_strict_host_key_checking = "yes"  # unknown and changed host keys are refused
# ssh_known_hosts_file = "~/.ssh/known_hosts"

_sudo = True
_timeout = (
    300  # seconds; a host that vanishes in the middle of a command must not hang the run (long steps set their own)
)

# address = "10.0.0.11"  # this host's IP address on the fleet's network; default: ssh_hostname or the host's name

# --- What is locked ----------------------------------------------------------------------------------------------------

catalog = []  # files of your own that add accelerators and models: ["mine.yaml"] (docs/adding.md)
lock_file = "barewind.lock.yaml"  # digests and SHA-256 of everything below, written by `barewind lock INVENTORY`

# reason = "nightly of Tuesday"  # why, for the history on the hosts: pyinfra ... --data reason="..."; default: none

# --- What an engine host serves ----------------------------------------------------------------------------------------

engine = "vllm"  # vllm | sglang
channel = "nightly"  # nightly | stable: the tag that `barewind lock` resolves to a digest
# image = "registry.example/vllm/vllm-openai:nightly"  # instead of the upstream image of engine and channel
model = "mistralai/Mistral-Medium-3.5-128B"
# model_revision = "c4be198050fb5789774a55b92ed697becfbf20ae"  # branch or commit; default: the catalog's
# served_model_name = "mistral-medium"  # the name clients ask for; default: the model's id
# draft = "mistralai/Mistral-Medium-3.5-128B-EAGLE"  # default: the model's draft in the catalog
# draft_revision = "main"

# accelerator = "h200"  # required on engine hosts: a100 (80 GB) | h100 | h100nvl | h200 | h20 | h20-141 | b200 | b300 | l40s |
#                       rtxpro6000 | rtx5090 | mi300x | mi308x | mi325x | mi350x | mi355x | cpu
# accelerator_count = 8  # accelerators in the host (cpu: 1); required on engine hosts
# accelerators = [0, 1, 2, 3]  # those that are used, by the numbers of the vendor's tool (nvidia-smi, amd-smi); default: all
replicas = (
    1  # engines on the host: each has its part of the accelerators, and a port (engine_port + 0, + 1, ...); or "auto"
)
profile = "balanced"  # latency | balanced | throughput | recipe (the published command): what is left open goes by it
# expected_concurrency = 64  # requests in flight on the host, which profile and `barewind plan --compare` go by; default: 32
# tpot_limit = 50  # milliseconds per token, by the estimate: an engine takes no more requests at a time than keep to it
# cost_per_hour = 24.5  # of the host, in any currency, for `barewind plan --compare`; nothing else goes by it
# tensor_parallel_size = 8  # default: the accelerators of an engine, accelerator_count / replicas
# context_length = 131072  # tokens, prompt and answer together; default: the largest usual one that fits
modality = "text"  # text | image
# images_per_prompt = 4  # with modality = "image"
image_domains = []  # hosts that engines may fetch images from: ["images.example.com"]; none: images come in requests (data: URLs)
speculative = "auto"  # EAGLE draft head: "auto" (on NVIDIA where it fits and pays), True, False, or tokens per step
kv_cache_dtype = "auto"  # auto | fp8
# gpu_memory_utilization = 0.9  # share of each accelerator's memory the engine may use; the default
# max_num_seqs = 128  # sequences batched at a time; default: as many of 2048 tokens as the KV cache holds, 512 at most
# max_num_batched_tokens = 4096  # tokens per step; default: those of half a second, with images 8192 at least
engine_args = {}  # any option of the engine: {"max-log-len": 100, "enforce-eager": True}; False leaves a planned one out
engine_env = {}  # environment of the engine: {"NCCL_DEBUG": "INFO"}. What looks like a secret is refused
engine_secrets = {}  # variables from files on the controller, mode 0600: {"VLLM_API_KEY": "~/secrets/api-key"}
accept_risks = []  # options and variables that open a door, by name: ["trust-remote-code"]; each is refused otherwise
container_hardening = True  # no root, no capabilities in the engine's container; False: as before, docs/security.md

# --- Drivers and container runtime of an engine host -------------------------------------------------------------------

accelerator_drivers = (
    "managed"  # managed: installed, held and upgraded as below | external: the site's own, only verified
)
nvidia_driver = "580.126.09"  # exact version; CUDA 13 images need 580 or newer
nvidia_modules = "open"  # open | proprietary (not on Blackwell)
nvidia_fabric_manager = "auto"  # "auto": on boards with eight accelerators behind NVSwitches; True, False
nvidia_container_toolkit = "1.20.0"  # exact version
amdgpu_release = "30.30.3"  # the release of AMD's kernel driver: a directory of amdgpu_repository
rocm_release = "7.2.3"  # the release of amd-smi on the host (a directory of rocm_repository); None: go without
amd_container_access = (
    "devices"  # devices: /dev/kfd and /dev/dri, anywhere | toolkit: AMD's container runtime, on Ubuntu
)
docker_source = "distribution"  # distribution: docker.io | vendor: docker-ce
# docker_version = "28.5.2"  # exact version of docker-ce; default: the newest at the first deploy, then held
nvidia_repository = (
    "https://developer.download.nvidia.com/compute/cuda/repos"  # these six: a mirror of the same shape will do
)
nvidia_toolkit_repository = "https://nvidia.github.io/libnvidia-container/stable/deb"
amdgpu_repository = "https://repo.radeon.com/amdgpu"
rocm_repository = "https://repo.radeon.com/rocm/apt"
amd_toolkit_repository = "https://repo.radeon.com/amd-container-toolkit/apt"
docker_repository = "https://download.docker.com/linux"
repository_keys = {}  # for mirrors signed by a key of their own: {"nvidia": "keys/mirror.asc"}; default: the vendors' keys
# hugepages = 0  # vm.nr_hugepages (2 MiB each); default: as the host has it
# transparent_hugepages = "madvise"  # always | madvise | never; default: as the host has it
reboot_timeout = 1800  # seconds until a host must be back; firmware of eight-accelerator servers takes up to 15 minutes

# --- How a change reaches hosts that serve -----------------------------------------------------------------------------

max_unavailable = (
    1  # engines of a group (hosts, where each has one) that may be out at a time: a number, or a share ("25%")
)
drain_timeout = 2100  # seconds that requests in flight get to end before their host is touched
drain_policy = (
    "abort"  # when they do not: abort: put the host back and stop | wait: as long as it takes | proceed: cut them
)
standby = False  # True: gets no requests (weight 0) until tasks/traffic.py moves some to it: the new half of a blue/green update
canary = 0  # seconds that a group's first host stands under real traffic before the others are drained; 0: not at all
on_failure = "hold"  # a host that fails stays out; rollback: back to what it served; rollback_group: its group too
# What a release that is new on a host must show beside its gate (docs/gates.md); default: nothing
# evaluation = ["bench/evaluate.sh"]  # command on the controller; BAREWIND_URL, _MODEL, _HOST and _RELEASE tell it whom to ask
evaluation_env = []  # variables of the controller that it may see, by name: ["JUDGE_TOKEN"]; beside PATH, HOME and the like
evaluation_timeout = 1800  # seconds it may take
# accuracy_floor = 0.9  # share of barewind/catalog/questions.yaml that the model must answer right
# throughput_ratio = 0.9  # tokens/s under a small fixed load, against those of the release that served before
allow_downtime = False  # True: go on although no host would be left to serve (a fleet of one)
# to = "green"  # for tasks/traffic.py: the group that gets requests (--data to=...)
# share = "10,50,100"  # ... percent of the new ones, or several steps; default: 100
# step_seconds = 300  # ... between two steps, while its requests are looked at; the default
# release = "0123456789ab"  # for tasks/rollback.py: go back to this one (--data release=...); default: the previous

# --- How an engine host runs it ----------------------------------------------------------------------------------------

engine_port = 8000  # reachable from the balancers only
open_ports = []  # of the host's own services at 20000 and above, which are closed but for these and sshd: [30000, "31000-31010"]
startup_timeout = 1800  # seconds from start to the first answer
shutdown_timeout = 600  # seconds running requests get to finish when the engine is stopped
data_dir = "/var/lib/barewind"  # weights and caches on the host
hub_endpoint = "https://huggingface.co"
# hub_token_file = "~/.cache/huggingface/token"  # on the controller, mode 0600; written nowhere on the hosts
weights_source = "swarm"  # one download per site, passed on from host to host; hub | mirror | path: each for itself
# weights_path = "https://mirror.example/models"  # mirror (or swarm): URL laid out as the hub is | path: the hosts' directory
weights_port = 8010  # where hosts pass weights on to each other, open only to them and only while they are copied
# weights_rate_limit = 100  # MB/s (10^6 bytes) that a host may receive, and send, while weights are copied; default: none
insecure_registries = []  # registries spoken to over plain HTTP: only on a private network, images are checked by digest
registry_logins = {}  # registry -> file on the controller, mode 0600, that holds user:password: {"ghcr.io": "~/secrets/ghcr"}
# mirror = "10.0.0.5:5000"  # registry of the fleet that hosts pull from, filled by `barewind mirror INVENTORY`; default: upstream
mirror_tls = True  # False: plain HTTP, only with a private IP address in `mirror`
# mirror_ca = "tls/ca.pem"  # on the controller: who signed the mirror's certificate; default: whom the system trusts
keep_releases = 3  # releases whose images stay, on hosts and in the mirror, for going back to

# --- What a balancer does (hosts of the group `balancers`) -------------------------------------------------------------

endpoint_port = 8000
endpoint_tls = False  # False: plain HTTP
# endpoint_name = "llm.example.com"  # the name or address by which clients connect, for which the certificate must be
# endpoint_certificate = "tls/endpoint.pem"  # on the controller, PEM, with the chain; renewed there, the next deploy brings it
# endpoint_key = "tls/endpoint.key"  # on the controller, PEM, mode 0600
stream_timeout = 2100  # seconds an engine may stay silent: longer than the longest generation's pauses (a client: 60)
queue_timeout = 60  # seconds a request may wait while every engine has max_num_seqs of them; then 503
endpoint_paths = []  # beside those of OpenAI's and Anthropic's APIs: ["POST /v1/embeddings"]; none of an engine's inside
# max_body = 3145728  # bytes of a request; default: 8 for each token of the context and 1 MiB, with images 40 MiB
# requests_per_client = 63  # at a time, of one address; default: fewer than a quarter of what the engines take (max_num_seqs)
connections_per_client = 512  # of one address, with or without a request
trusted_clients = []  # addresses or networks that these two do not count: the gateway or application server before us
# queue_limit = 256  # requests that wait for an engine; one more gets 503 at once; default: they wait queue_timeout, however many
endpoint_open = True  # False: clients need a key (docs/keys.md); True: whoever reaches the endpoint uses it
peers_port = 8020  # where its process before and the other balancers tell HAProxy how often each key asks
cors_origins = []  # web pages whose scripts may use the endpoint: ["https://chat.example.com"]
usage_retention = 400  # days that each key's sums of requests and tokens are kept (docs/keys.md)
# endpoint_keys = "keys.yaml"  # on the controller: SHA-256 of clients' keys, by `barewind keys`; default: beside lock_file

# --- What a mirror does (hosts of the group `mirrors`); mirror_tls is above ---------------------------------------------

mirror_port = 5000  # to read from: reachable from the fleet's hosts and mirror_clients only; filled over SSH
mirror_dir = "/var/lib/docker-registry"  # where the images are: 10 to 20 GB per release and kind of accelerator
# mirror_certificate = "tls/mirror.pem"  # on the controller, PEM, with the chain
# mirror_key = "tls/mirror.key"  # on the controller, PEM, mode 0600
mirror_clients = []  # addresses or networks beside the fleet's own that may read it: the controller, which asks what it has

# --- What a monitor does (hosts of the group `monitors`); all monitors have the same, but for their certificates --------

# monitor_password_file = "~/secrets/monitor"  # on the controller, mode 0600: the password of the user `barewind`; required
monitor_port = 9090  # Prometheus: reachable from monitor_clients and other monitors only
alertmanager_port = 9093  # Alertmanager: likewise
alertmanager_peer_port = 9094  # where several monitors' Alertmanagers agree who tells: open to the other monitors alone
monitor_clients = []  # addresses or networks of those who look: ["10.0.0.0/24"]
monitor_tls = True  # False: plain HTTP, only on a private address
# monitor_certificate = "tls/mon1.pem"  # on the controller, PEM, with the chain; it names the monitor's address
# monitor_key = "tls/mon1.key"  # on the controller, PEM, mode 0600
# monitor_ca = "tls/ca.pem"  # on the controller: who signed the monitors' certificates; default: whom the system trusts
monitor_dir = "/var/lib/prometheus/metrics2"  # where the figures are; `barewind plan` says how much disk they take
monitor_retention_days = 30
node_exporter_port = 9100  # of every host of the fleet: reachable from the monitors only
balancer_metrics_port = 8405  # of balancers: HAProxy's own exporter, for the monitors only
gpu_exporter = "smi"  # smi: the vendor's tool or driver, by a program of ours | None: no figures of accelerators
# monitor_retention_gb = 50  # GiB; the oldest figures go when either is reached; default: by days alone
receivers = {}  # whom alerts go to: {"ops": {"kind": "webhook", "url": "https://..."}}; other kinds: docs/monitoring.md
thresholds = {}  # from where on there is an alert: {"ttft_seconds": 2.0, "objective": 99.5}; all of them: docs/monitoring.md
