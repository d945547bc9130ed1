"""Ganserve and its peers: how each is started and asked. `setup` says how the table describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from benchmarks.serving.questions import (
    BATCH,
    Question,
    kserve_array,
    kserve_body,
    kserve_png,
    npy,
    npz,
    png,
    png_in_json,
)

PEERS = "benchmarks.serving.peers"

_WANTED = '{"seed": SEED, "label": LABEL}'
_PICTURE = Question("/picture", _WANTED, 1, png)
_ARRAYS = Question("/arrays", f'{{"seed": SEED, "label": LABEL, "n": {BATCH}}}', BATCH, npy)


@dataclass(frozen=True)
class Server:
    """`command` has {bin}, {port} and {cores}; the threads of a session are one, or as many as cores.

    `environment` names the requirements in peers/, and the folder that they are installed into; Ganserve has
    its own. `package` is what the table gives the version of.
    """

    name: str
    setup: str
    command: str
    ready: str
    picture: Question
    arrays: Question
    environment: str | None
    package: str
    one_thread: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)


def ganserve_body(**fields: str | int) -> str:
    """A body for POST /generate."""
    named = ", ".join(f'"{name}": {value}' for name, value in fields.items())
    return f'{{"seed": SEED, "label": LABEL, {named}}}'


GANSERVE = Server(
    name="Ganserve",
    setup="`make serve`",
    command="make --no-print-directory serve PORT={port}",
    ready="/readyz",
    picture=Question("/generate", ganserve_body(format='"png"'), 1, png),
    arrays=Question("/generate", ganserve_body(n=BATCH, format='"npz"'), BATCH, npz),
    environment=None,
    package="bentoml",
)

_FASTAPI = Server(
    name="FastAPI",
    setup="pool of threads, no batching, uvloop and httptools",
    command=f"{{bin}}/uvicorn {PEERS}.fastapi_pool:app --port {{port}} --no-access-log",
    ready="/ready",
    picture=_PICTURE,
    arrays=_ARRAYS,
    environment="fastapi",
    package="fastapi",
    one_thread=True,
)

SERVERS = (
    GANSERVE,
    _FASTAPI,
    replace(
        _FASTAPI,
        name="FastAPI, a process a core",
        setup="the same with `--workers`",
        command=f"{_FASTAPI.command} --workers {{cores}}",
    ),
    Server(
        name="LitServe",
        setup="batches of 64, a worker a core, `fast_queue`",
        command=f"{{bin}}/python -m {PEERS}.litserve_batch {{port}} {{cores}}",
        ready="/health",
        picture=_PICTURE,
        arrays=_ARRAYS,
        environment="litserve",
        package="litserve",
        one_thread=True,
    ),
    Server(
        name="Ray Serve",
        setup="`@serve.batch` of 64, a replica a core, HAProxy, throughput settings",
        command=f"{{bin}}/python -m {PEERS}.ray_serve {{port}} {{cores}}",
        ready="/-/healthz",
        picture=_PICTURE,
        arrays=_ARRAYS,
        environment="ray",
        package="ray",
        one_thread=True,
        variables={
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
        },
    ),
    Server(
        name="BentoML",
        setup="`batchable=True`, batches of 64, a worker a core, uvloop and httptools, no access log",
        command=f"{{bin}}/bentoml serve {PEERS}.bentoml_batch:Pictures --host 127.0.0.1 --port {{port}}",
        ready="/readyz",
        picture=Question("/pictures", f'{{"batch": [{_WANTED}]}}', 1, png_in_json),
        arrays=_ARRAYS,
        environment="bentoml",
        package="bentoml",
        one_thread=True,
    ),
    Server(
        name="Triton",
        setup="PyTriton, dynamic batches of 64, KServe v2",
        command=f"{{bin}}/python -m {PEERS}.triton {{port}}",
        ready="/v2/models/arrays/ready",
        picture=Question(
            "/v2/models/picture/infer",
            kserve_body("png", {"seed": "SEED", "label": "LABEL"}, [1, 1]),
            1,
            kserve_png,
        ),
        arrays=Question(
            "/v2/models/arrays/infer",
            kserve_body("images", {"seed": "SEED", "label": "LABEL", "n": str(BATCH)}, [1]),
            BATCH,
            kserve_array,
        ),
        environment="triton",
        package="nvidia-pytriton",
    ),
)

NOOP_PATH = "/livez"
"""What Ganserve answers without generating anything."""

FASTAPI_NOOP = f"{{bin}}/uvicorn {PEERS}.fastapi_noop:app --port {{port}} --no-access-log --workers {{cores}}"
