"""NVIDIA Dynamo's own front end and mock workers, of `make dynamo` or of DYNAMO_PYTHON.

Workers find one another in files, speak TCP and ZeroMQ on loopback, and need no GPU, no etcd, no
NATS and no model hub: their model is a tokenizer of single bytes.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_BUILT = Path(__file__).parents[2] / "build" / "dynamo"


def _interpreter() -> str | None:
    """The named one, else that of `make dynamo` if it has the front end; None: there is none."""
    has_front_end = any(_BUILT.glob("lib/python*/site-packages/dynamo/frontend"))
    return os.environ.get("DYNAMO_PYTHON") or (
        str(_BUILT / "bin" / "python") if has_front_end else None
    )


INTERPRETER = _interpreter()
MODEL = "Org/Tiny-8B"
PODS = ("frontend-0", "prefill-0", "decode-0", "decode-1")
_BYTES_PER_TOKEN = 131_072  # of an 8B model: 1,000 tokens are 131 MB


@dataclass(frozen=True, slots=True)
class Stack:
    """Where the front end listens, and every pod's page as host:port."""

    address: str
    pages: Mapping[str, str]


@contextmanager
def running(folder: Path, *, prefill_speed: float = 1.0) -> Iterator[Stack]:
    """Run one front end, one prefill and two decode workers until the block ends."""
    model = _model(folder / "model")
    *free, bootstrap = _free_ports(len(PODS) + 1)
    ports = dict(zip(PODS, free, strict=True))
    common = ("-m", "dynamo.mocker", "--model-path", str(model), "--model-name", MODEL)
    worker = (
        *common,
        *("--max-model-len", "8192", "--kv-bytes-per-token", str(_BYTES_PER_TOKEN)),
    )
    rows = {
        "frontend-0": (
            *("-m", "dynamo.frontend", "--router-mode", "kv"),
            *("--http-host", "127.0.0.1", "--http-port", str(ports["frontend-0"])),
        ),
        "prefill-0": (
            *(*worker, "--disaggregation-mode", "prefill"),
            *("--bootstrap-ports", str(bootstrap), "--speedup-ratio", str(prefill_speed)),
        ),
        "decode-0": (*worker, "--disaggregation-mode", "decode"),
        "decode-1": (*worker, "--disaggregation-mode", "decode"),
    }
    with ExitStack() as processes:
        for pod, arguments in rows.items():
            processes.enter_context(_process(folder, pod, arguments, ports[pod]))
        yield Stack(
            f"http://127.0.0.1:{ports['frontend-0']}",
            {pod: f"127.0.0.1:{port}" for pod, port in ports.items()},
        )


@contextmanager
def _process(
    folder: Path, pod: str, arguments: tuple[str, ...], system_port: int
) -> Iterator[None]:
    assert INTERPRETER is not None
    loopback = dict.fromkeys(
        (
            *("DYN_TCP_RPC_HOST", "DYN_HTTP_RPC_HOST", "DYN_TCP_RESPONSE_STREAM_HOST"),
            *("DYN_EVENT_PLANE_HOST", "DYN_SYSTEM_HOST"),
        ),
        "127.0.0.1",
    )
    settings = {
        "DYN_DISCOVERY_BACKEND": "file",
        "DYN_FILE_KV": str(folder / "discovery"),
        "DYN_REQUEST_PLANE": "tcp",
        "DYN_EVENT_PLANE": "zmq",
        "DYN_NAMESPACE": "dynamo",
        "HF_HUB_OFFLINE": "1",
    }
    if pod != "frontend-0":
        settings["DYN_SYSTEM_PORT"] = str(system_port)
    with (folder / f"{pod}.log").open("w") as log:
        process = subprocess.Popen(
            [INTERPRETER, *arguments],
            env={**os.environ, **loopback, **settings},
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _model(folder: Path) -> Path:
    """A model without weights: mock workers need the tokenizer, the template and the limits."""
    folder.mkdir()
    tokens = ["<s>", "</s>", *_byte_letters()]
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [{"id": i, "content": tokens[i], "special": True, **special} for i in (0, 1)]
    by_byte = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    tokenizer = {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": by_byte,
        "decoder": by_byte,
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [],
        },
    }
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(tokens),
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 8192,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    named = {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {"eos_token": "</s>", "chat_template": template},
        "config.json": config,
    }
    for name, content in named.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = 256 - len(printable)
    return [*map(chr, printable), *(chr(256 + i) for i in range(others))]


def _free_ports(count: int) -> list[int]:
    """Ports below 32,768: Dynamo reads that of a worker's page as a signed 16-bit number."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_768), 200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports between 20,000 and 32,768")
