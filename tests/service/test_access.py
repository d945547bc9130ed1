"""What is logged and counted of a request, seen from a running server."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from models.shelf import Shelf
from tests.service.server import PATIENCE, Server, running

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEX = re.compile(r"[0-9a-f]{32}")


def line_of(server: Server, request_id: str) -> dict[str, Any]:
    """The one line of the log about a request."""
    deadline = time.monotonic() + PATIENCE
    while True:
        written = server.log.read_text().splitlines()
        lines = [json.loads(line) for line in written if line.startswith("{")]
        if about := [line for line in lines if line["request_id"] == request_id]:
            [line] = about
            return line  # type: ignore[no-any-return]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def samples(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def sample(client: httpx.Client, name: str, **labels: str) -> float:
    return samples(client).get((name, frozenset(labels.items())), 0.0)


def test_a_request_id_is_taken_over_and_logged(server: Server, client: httpx.Client) -> None:
    answer = client.post(
        "/generate",
        json={"model": "convolutional", "n": 3, "seed": 5, "format": "npz"},
        headers={"X-Request-ID": "mine/7", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
    )
    assert answer.headers["X-Request-ID"] == "mine/7"
    line = line_of(server, "mine/7")
    assert line["trace_id"] == TRACE
    expected = {
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/generate",
        "status": 200,
        "bytes": len(answer.content),
        "model": "convolutional:1",
        "rows": 3,
        "format": "npz",
    }
    assert {key: line[key] for key in expected} == expected
    parts = [line[f"{part}_seconds"] for part in ("queue", "compute", "encode")]
    assert all(part >= 0 for part in parts)
    assert sum(parts) <= line["seconds"]


@pytest.mark.parametrize(
    "parent",
    [f"ff-{TRACE}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{TRACE}-{'0' * 16}-01"],
    ids=["version", "trace", "parent"],
)
def test_a_trace_that_cannot_be_is_none(server: Server, client: httpx.Client, parent: str) -> None:
    answer = client.post("/generate", json={"n": 0}, headers={"traceparent": parent})
    assert line_of(server, answer.headers["X-Request-ID"])["trace_id"] is None


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129, "ü"])
def test_a_request_id_is_drawn_where_none_fits(client: httpx.Client, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given.encode()}
    answers = [client.post("/generate", json={"n": 0}, headers=headers) for _ in range(2)]  # type: ignore[arg-type]
    ids = {answer.headers["X-Request-ID"] for answer in answers}
    assert len(ids) == 2
    assert all(HEX.fullmatch(one) for one in ids)


def test_a_refusal_is_logged_with_its_reason(server: Server, client: httpx.Client) -> None:
    client.post("/generate", json={"n": 0}, headers={"X-Request-ID": "refused"})
    line = line_of(server, "refused")
    assert line["status"] == 422
    assert line["error"].startswith("n is 0, expected")


def test_no_path_and_no_header_can_forge_a_line(server: Server, client: httpx.Client) -> None:
    forged = '/x%0a{"request_id":"forged"}%0d%0a'
    client.get(forged, headers={"X-Request-ID": "forger", "traceparent": "zz"})
    line = line_of(server, "forger")
    assert line["path"] == '/x\n{"request_id":"forged"}\r\n'
    assert line["trace_id"] is None
    assert not [line for line in server.log.read_text().splitlines() if line.startswith('{"request_id"')]


def test_text_that_utf8_cannot_encode_is_logged(server: Server, client: httpx.Client) -> None:
    client.post("/generate", content=b'{"model": "\\ud800"}', headers={"X-Request-ID": "surrogate"})
    assert line_of(server, "surrogate")["status"] == 404


def test_rows_and_batches_are_counted(client: httpx.Client) -> None:
    def counted() -> list[float]:
        model = "convolutional:1"
        return [
            sample(client, "ganserve_rows_total", model=model, outcome="served"),
            sample(client, "ganserve_batch_rows_sum", model=model),
            sample(client, "ganserve_queue_seconds_count", model=model),
            sample(client, "ganserve_encode_seconds_count", model=model, format="zip"),
            sample(client, "ganserve_requests_total", route="/generate", status="200"),
            sample(client, "ganserve_request_seconds_count", route="/generate"),
        ]

    before = counted()
    client.post("/generate", json={"model": "convolutional", "n": 100, "format": "zip"})
    after = counted()
    assert [b - a for a, b in zip(before, after, strict=True)] == [100, 100, 1, 1, 1, 1]
    assert sample(client, "ganserve_queue_rows", model="convolutional:1") == 0
    assert sample(client, "ganserve_rows_in_progress") == 0


def test_the_build_and_the_models_are_told(client: httpx.Client, shelf: Shelf) -> None:
    for generator in shelf.list():
        assert sample(client, "ganserve_model", model=generator.reference, digest=generator.digest) == 1
    [build] = [labels for name, labels in samples(client) if name == "ganserve_build_info"]
    assert {name for name, _ in build} >= {"version", "onnxruntime", "device"}
    assert all(value for _, value in build)
    assert sample(client, "ganserve_ready") == 1


def test_paths_that_clients_make_up_do_not_grow_the_metrics(client: httpx.Client) -> None:
    client.get("/nothing")
    client.request("BREW", "/nothing")
    client.post("/generate", json={"model": "no"})
    client.get("/metrics")
    before = set(samples(client))
    for i in range(50):
        client.get(f"/nothing/{i}")
        client.post(f"/generate/{i}", json={"model": f"no-{i}"})
        client.post("/generate", json={"model": f"no-{i}"})
    assert set(samples(client)) == before


def test_what_nobody_got_has_no_bytes(server: Server, client: httpx.Client) -> None:
    client.head("/generate", headers={"X-Request-ID": "head"})
    assert line_of(server, "head")["bytes"] == 0


@pytest.fixture(scope="module")
def quiet(shelf: Shelf) -> Iterator[Server]:
    with running(shelf.root, log_sample=0) as server:
        yield server


def test_a_sample_of_none_logs_no_request(quiet: Server) -> None:
    with quiet.client() as client:
        assert client.post("/generate", json={"model": "convolutional"}).status_code == 200
        assert client.post("/generate", json={"n": 0}).status_code == 422
    assert not [line for line in quiet.log.read_text().splitlines() if line.startswith("{")]


class Collector(HTTPServer):
    """Takes OpenTelemetry's traces, and keeps the names of the spans with their trace and parent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Export)
        self.spans: set[tuple[str, str, str]] = set()


class Export(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        export = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in export.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.server.spans.add((span.name, span.trace_id.hex(), span.parent_span_id.hex()))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_traces_go_where_they_are_wanted(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{collector.server_port}/v1/traces"
        with running(shelf.root, traces=url) as server, server.client() as client:
            ids = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Request-ID": "traced"}
            client.post("/generate", json={"model": "convolutional"}, headers=ids)
            assert line_of(server, "traced")["trace_id"] == TRACE
            until(lambda: ("POST /generate", TRACE, "00f067aa0ba902b7") in collector.spans)
            client.post("/generate", json={"n": 0}, headers={"X-Request-ID": "begun"})
            begun = line_of(server, "begun")["trace_id"]
            until(lambda: ("POST /generate", begun, "") in collector.spans)
        collector.shutdown()
    assert not [name for name, _, _ in collector.spans if "readyz" in name]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
