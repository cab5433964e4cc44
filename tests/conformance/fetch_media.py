"""What the engines' own code fetches for a request: run by the Python that has them, with the engine's name and the domains."""

import base64
import http.server
import io
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

from PIL import Image

asked: list[str] = []
picture = io.BytesIO()
Image.new("RGB", (8, 8)).save(picture, "PNG")


class Listener(http.server.BaseHTTPRequestHandler):
    """Writes down what is asked for; /redirect leads to the same listener under another name."""

    def do_GET(self) -> None:
        asked.append(self.path)
        self.send_response(302 if self.path == "/redirect" else 200)
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/redirected")
        self.send_header("Content-Length", str(len(picture.getvalue())))
        self.end_headers()
        self.wfile.write(picture.getvalue())

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


def vllm(domains: list[str]) -> Callable[[str], object]:
    """What fetches the images of a request in vLLM."""
    from vllm.multimodal.media import MediaConnector

    fetch: Callable[[str], object] = MediaConnector(allowed_media_domains=domains).fetch_image
    return fetch


def sglang(domains: list[str]) -> Callable[[str], object]:
    """What fetches the images of a request in SGLang."""
    for name in ("triton", "triton.language"):
        sys.modules.setdefault(name, mock.MagicMock())  # a package for GPUs, which fetching has no use for
    from sglang.srt.utils import common

    common.configure_media_url_security(domains)
    read: Callable[[str], object] = common.get_image_bytes
    return read


def main(engine: str, domains: list[str]) -> None:
    """Print, per address, what the listener was asked for and whether there was an image."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fetch = {"vllm": vllm, "sglang": sglang}[engine](domains)
    port = server.server_port
    urls = {
        "an address": f"http://127.0.0.1:{port}/image",
        "a name": f"http://localhost:{port}/image",
        "a redirect": f"http://localhost:{port}/redirect",
        "a user before the name": f"http://localhost@127.0.0.1:{port}/image",
        "the request itself": "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode(),
    }
    found = {}
    for name, url in urls.items():
        asked.clear()
        try:
            fetch(url)
            came = True
        except Exception:
            came = False
        found[name] = [came, *asked]
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # engines leave threads behind


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
