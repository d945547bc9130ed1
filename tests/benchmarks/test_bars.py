from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.serving import report
from benchmarks.serving.alone import Fairness, Noop, Overload
from benchmarks.serving.bare import Bare
from benchmarks.serving.bars import Bar, of_fairness, of_generator, of_noop, of_overload
from benchmarks.serving.rounds import WORKLOADS, Cell, Results, Workload
from benchmarks.serving.servers import GANSERVE, SERVERS


def a_cell(images_per_second: float, p50_ms: float = 3, errors: int = 0) -> Cell:
    return Cell(images_per_second, p50_ms, 9, errors, 1, 100)


def results(ours: Callable[[Workload], Cell]) -> Results:
    """A session that makes 1,000 images/s, 2 ms a row and 0.5 ms for its file; peers at 200, 300, 400 ..."""
    found = Results()
    found.bare["g"] = [Bare(as_it_comes={1: 500, 64: 900}, a_loop_a_core={64: 1000}, row_ms=2, encode_ms=0.5)]
    for workload in WORKLOADS:
        for i, server in enumerate(SERVERS):
            cell = ours(workload) if server is GANSERVE else a_cell(100 + 100 * i)
            found.cells["g", server.name, workload.title] = [cell]
    return found


BEST_PEER = 100 * len(SERVERS)


@pytest.mark.parametrize(
    ("cell", "met"),
    [
        (a_cell(1.3 * BEST_PEER + 200), [True, True, True, True, True, True]),
        (a_cell(1.2 * BEST_PEER + 20, p50_ms=4.1), [False, True, False, True, False, True]),
        (a_cell(1.3 * BEST_PEER + 200, errors=1), [True, True, True, True, True, False]),
    ],
)
def test_bars_are_met_or_missed(cell: Cell, met: list[bool]) -> None:
    assert [bar.met for bar in of_generator(results(lambda _: cell), "g")] == met


def test_without_peers_no_comparison_is_won() -> None:
    found = results(lambda _: a_cell(5000))
    for key in [key for key in found.cells if key[1] != GANSERVE.name]:
        del found.cells[key]
    assert [bar.met for bar in of_generator(found, "g")] == [False, True, True, False, True, True]


def test_a_service_without_figures_meets_nothing() -> None:
    found = results(lambda _: a_cell(1))
    del found.cells["g", GANSERVE.name, WORKLOADS[3].title]
    found.absent["g", GANSERVE.name] = "wrk: unable to connect"
    assert [(bar.met, bar.measured) for bar in of_generator(found, "g")] == [
        (False, "wrk: unable to connect")
    ]


def test_medians_of_rounds() -> None:
    found = results(lambda _: a_cell(1))
    key = ("g", GANSERVE.name, WORKLOADS[0].title)
    found.cells[key] = [a_cell(10, 5, 1), a_cell(30, 1, 2), a_cell(20, 3, 0)]
    assert found.median("g", GANSERVE.name, WORKLOADS[0]) == a_cell(20, 3, 3)


@pytest.mark.parametrize(
    ("bars", "met"),
    [
        ([of_fairness([Fairness(10, 29)])], [True]),
        ([of_fairness([Fairness(10, 30)])], [False]),
        (of_overload([Overload(100, 90, 900, 0)]), [True, True]),
        (of_overload([Overload(100, 89, 900, 1)]), [False, False]),
        ([of_noop([Noop(57, 100)])], [True]),
        ([of_noop([Noop(56, 100)])], [False]),
        ([of_fairness([]), *of_overload([]), of_noop([])], [False] * 4),
    ],
)
def test_bars_of_the_service_alone(bars: list[Bar], met: list[bool]) -> None:
    assert [bar.met for bar in bars] == met


def test_an_absent_server_has_its_reason_in_each_table() -> None:
    found = results(lambda _: a_cell(1))
    for workload in WORKLOADS:
        del found.cells["g", "Triton", workload.title]
    found.absent["g", "Triton"] = "no wheel | for this Python"
    text = report.tables(found, "g")
    assert text.count("| Triton | absent: no wheel / for this Python |") == len(WORKLOADS)


def test_results_take_the_place_of_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- serving -->\nold\n<!-- end of serving -->\nafter\n")
    monkeypatch.setattr(report, "README", readme)
    report.put("serving", "new")
    report.put("serving", "newer")
    assert readme.read_text() == "before\n<!-- serving -->\n\nnewer\n\n<!-- end of serving -->\nafter\n"
