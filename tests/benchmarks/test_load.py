import json
import shutil

import pytest

from benchmarks.serving.failures import LoadFailed
from benchmarks.serving.load import Load
from tests.benchmarks.answers import Answer, answering

pytestmark = pytest.mark.skipif(not shutil.which("wrk"), reason="wrk makes the load: apt-get install wrk")

BODY = '{"seed": SEED, "label": LABEL}'


def test_each_request_has_another_seed() -> None:
    with answering(Answer(b"it")) as (url, received):
        with Load(f"{url}/", BODY, connections=2, seconds=1) as load:
            outcome = load.outcome()
        seeds = [json.loads(body)["seed"] for body in received]
    assert len(set(seeds)) == len(seeds)
    assert outcome.errors == 0
    assert 0 < outcome.good <= len(seeds)
    assert 0 < outcome.p50_ms <= outcome.p99_ms


def test_errors_are_told_from_refusals_that_say_when_to_come_back() -> None:
    come_back = Answer(status=503, headers={"Retry-After": "1"})
    with (
        answering(Answer(), come_back, Answer(status=503), Answer(status=404)) as (url, _),
        Load(f"{url}/", BODY, connections=1, seconds=2, after=1) as load,
    ):
        outcome = load.outcome()
    # in turn, over a second
    assert outcome.good == pytest.approx(outcome.refused, rel=0.3, abs=2)
    assert outcome.errors == pytest.approx(2 * outcome.good, rel=0.3, abs=4)


def test_all_errors_count_where_answers_are_not_read() -> None:
    with (
        answering(Answer(status=500)) as (url, _),
        Load(f"{url}/", BODY, connections=1, seconds=1) as load,
    ):
        outcome = load.outcome()
    assert outcome.good == 0
    assert outcome.errors > 0


def test_a_server_that_is_gone_is_a_failure() -> None:
    with answering(Answer()) as (url, _):
        pass
    with Load(f"{url}/", BODY, connections=1, seconds=1) as load, pytest.raises(LoadFailed, match="wrk: "):
        load.outcome()
