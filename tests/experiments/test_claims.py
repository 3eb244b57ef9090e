"""The experiment on the claims: layers, ledgers, ratios, stages, and steps that are remembered."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from davinci_sim.chip.kept import Store
from davinci_sim.platforms import platform
from experiments.claims import ratios as ratios_module
from experiments.claims import report
from experiments.claims.ahead import time_ahead
from experiments.claims.classes import ELEMENT_WISE, KINDS, Class, by_class
from experiments.claims.experiment import _found
from experiments.claims.findings import Compared, Explained, Findings
from experiments.claims.layers import OPTIMIZER, layer_of_weight, layers_of
from experiments.claims.ledger import BESIDE, CAUSES, charges, ledger, totals
from experiments.claims.plan import QUICK, WHOLE, Ask
from experiments.claims.ratios import ratios, read_published
from experiments.claims.recipes import Case
from experiments.claims.stages import (
    AT_ONCE,
    EVERYTHING,
    NOTHING,
    ONE_BY_ONE,
    ONE_STREAM,
    WITHOUT,
    Bar,
    Stage,
    Waterfall,
    saving,
    waterfall,
)
from experiments.claims.steps import Row, Steps, Timed, host_us, roomy
from experiments.claims.what_if import WhatIf, changed
from experiments.harness import Context, load
from experiments.operators.cover import RULES
from framework.graph_engine.service.prepare import first_room, prepare
from framework.models import config, model

P = platform("ascend910a")
CASE = Case("lenet5", 4)
NUMBERS = st.integers(0, 10**6)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """Return steps that are remembered in a folder of the test."""
    return Steps(P, store=Store(tmp_path_factory.mktemp("steps")))


def test_every_claimed_metric_is_explained():
    """In a word of its own, or by its beginning."""
    experiment = load("claims")
    about = json.loads((experiment.folder / "expected.json").read_text())["_meta"]
    assert {"most_whole_over_real", "ledger_difference", "tasks_below_bounds"} <= set(about)


@pytest.mark.parametrize(
    ("weight", "layer"),
    [
        ("stem.conv.weight", "stem"),
        ("blocks.2.expand.bn.gamma", "stage 1, block 2"),
        ("blocks.3.shortcut.conv.weight", "stage 2, block 3"),
        ("blocks.13.reduce.conv.weight", "stage 4, block 13"),
        ("fc.bias", "fc"),
        ("net.bert.embeddings.words.table", "embeddings"),
        ("net.bert.layer7.attention.query.weight", "layer 7, attention"),
        ("net.bert.layer7.attention_norm.gamma", "layer 7, attention"),
        ("net.bert.layer23.dense_out.weight", "layer 23, feed forward"),
        ("net.transform.weight", "heads"),
    ],
)
def test_a_weight_tells_its_layer(weight, layer):
    """By its name in the network."""
    assert layer_of_weight(weight) == layer


def test_every_node_of_a_step_has_a_layer_and_updates_are_the_optimizers():
    """Of a small ResNet-50: stem, one block in each of the first blocks, the last layer."""
    func = model("resnet50").training(config("resnet50", "small"), 2).func
    graph = prepare(func, first_room(func), {})
    found = layers_of(graph)
    assert set(found) == {node.name for node in graph.nodes}
    assert {found[node.name] for node in graph.nodes if node.op == "apply_momentum"} == {OPTIMIZER}
    assert {"stem", "fc", "stage 1, block 0"} <= set(found.values())


@given(st.builds(Row, *(st.just("x") for _ in range(4)), st.integers(0, 64), *(NUMBERS for _ in range(10))))
def test_the_charges_of_a_task_sum_to_its_time(row):
    """Whatever its pipes and bytes say; no charge is negative."""
    found = charges(row, P)
    assert sum(found.values()) == row.cycles
    assert all(cycles >= 0 for cycles in found.values())
    assert set(found) <= set(CAUSES)


def test_a_ladder_charges_what_lies_above_the_rungs_before():
    """A start of 1100, then 100 of the cube, 50 more ragged, vector work hidden, 30 of HBM, and blocks."""
    row = Row("x", "x", "x", "x", 1, 1100 + 200, 100, 150, 120, hbm=180)
    found = {cause: cycles for cause, cycles in charges(row, P).items() if cycles}
    assert found == {
        "launch": 1100, "ideal cube": 100, "ragged fractals, heads": 50, "HBM": 30,
        "flags, fill and drain": 20,
    }  # fmt: skip


def test_copies_lie_beside_the_cores():
    """They have no blocks."""
    assert charges(Row("x", "x", "x", "x", 0, 77), P) == {BESIDE: 77}


def test_a_ledger_has_its_layers_in_order_and_totals():
    """Layers in the order in which they begin."""
    rows = [Row("x", "x", "x", layer, 0, 1) for layer in ("b", "a", "b")]
    book = ledger(rows, P)
    assert list(book) == ["b", "a"]
    assert totals(book) == {BESIDE: 3}


def test_the_claim_of_bert_is_a_ratio_of_published_throughputs():
    """1 - 80.1 / 210 = 62 %."""
    found = next(each for each in ratios(lambda *_: None) if each.network == "bert")
    assert round(found.published, 2) == read_published()["claims"]["bert"] == 0.62
    assert found.ours is None


def test_time_to_train_is_a_throughput_of_all_epochs():
    """90 epochs in 3 hours; eight devices scale as the published ones did."""
    found = next(
        each for each in ratios(lambda *_: 20.0)
        if "MXNet" in each.baseline and each.against.software == "MindSpore 0.2"
    )  # fmt: skip
    assert round(found.baseline_per_s, 1) == 10676.4
    assert found.ours_per_s == pytest.approx(1e3 * 32 / 20 * 13689 / 1787)


def test_the_claim_of_resnet50_is_nearest_to_139_minutes_against_3_hours():
    """1 - 139 / 180 = 22.8 %; a candidate, since no baseline was named."""
    against = [each for each in ratios(lambda *_: None) if "90 epochs" in each.baseline]
    found = next(each for each in against if each.against.software == "MindSpore 0.1")
    assert round(found.published, 3) == 0.228
    assert (
        min(against, key=lambda each: abs(each.published - read_published()["claims"]["resnet50"])) == found
    )


def test_published_steps_have_their_milliseconds():
    """17.9, 121, 457 and 357."""
    assert [round(each.ms, 1) for each in read_published()["steps"]] == [17.9, 121.0, 457.1, 356.9]


def test_every_source_of_a_published_number_is_told():
    """The words in `_meta`."""
    table = json.loads(ratios_module.SOURCE.read_text())
    named = set(table["_meta"])
    assert all(each["source"] in named for each in (*table["steps"], *table["eight"]))
    assert all(each["source"].startswith("nvidia") for each in table["baselines"])


def test_each_stage_switches_on_one_thing():
    """The host's list of tasks first, then one option after the other."""
    first, *others = ONE_BY_ONE
    assert first.is_dispatched
    assert first.options == others[0].options == NOTHING
    assert others[-1].options == EVERYTHING
    assert replace(EVERYTHING, streams=False) == ONE_STREAM
    assert len({stage.name for stage in WITHOUT}) == len(WITHOUT)


def test_a_step_is_remembered(steps, monkeypatch):
    """The second time nothing is compiled, and all is as it was."""
    first = steps.timed(CASE, ONE_STREAM)
    monkeypatch.setattr(Steps, "_simulated", None)
    assert steps.timed(CASE, ONE_STREAM) == first


def test_the_plan_names_every_step_that_the_findings_need(steps):
    """So that all are timed ahead; in both forms."""
    known = replace(steps.timed(CASE, ONE_STREAM), rows=())
    for plan in (WHOLE, QUICK):
        asked: set[Ask] = set()

        class Asked(Steps):
            def timed(self, *ask, asked=asked):
                asked.add(Ask(*ask))
                return known

        plan_of_steps = plan._replace(without=())  # the records of single operators are others' work
        _found(Asked(P), plan_of_steps)
        assert asked == set(plan_of_steps.asks(P))
        assert len(plan.asks(P)) == len(set(plan.asks(P)))


def test_large_steps_come_first_and_both_networks_in_turn():
    """Then two processes seldom simulate the same tasks at once."""
    first = [ask.case for ask in WHOLE.asks(P)[:4]]
    assert [(case.network, case.batch) for case in first] == 2 * [("resnet50", 256), ("bert", 96)]


def test_steps_that_are_timed_ahead_are_remembered(steps, tmp_path):
    """By other processes, as here; the second time there is nothing to do."""
    ahead = Steps(P, store=Store(tmp_path))
    asks, seen = [Ask(CASE, ONE_STREAM), Ask(CASE, NOTHING)], []
    time_ahead(ahead, asks, lambda *done: seen.append(done), jobs=2)
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert all(ahead.knows(*ask) for ask in asks)
    assert [ahead.timed(*ask) for ask in asks] == [steps.timed(*ask) for ask in asks]
    time_ahead(ahead, asks, lambda *done: seen.append(done), jobs=2)
    assert len(seen) == 3


def test_the_rows_of_a_step_sum_to_it(steps):
    """On one stream; the host's own pace only makes it longer."""
    found = steps.timed(CASE, ONE_STREAM)
    assert sum(row.cycles for row in found.rows) == found.cycles == found.dispatch[0.0]
    costs = sorted(found.dispatch)
    assert [found.dispatch[us] for us in costs] == sorted(found.dispatch.values())
    assert sum(sum(each.values()) for each in ledger(found.rows, P).values()) == found.cycles


def test_a_waterfall_goes_from_single_operators_to_everything(steps):
    """A small network waits for the host; the more that costs, the more a whole graph spares."""
    wall = waterfall(CASE, steps, AT_ONCE, ())
    assert [bar.stage.name for bar in wall.one_by_one] == [stage.name for stage in AT_ONCE]
    assert wall.one_by_one[0].ms > wall.one_by_one[1].ms > wall.whole.ms
    assert saving(wall, host_us(P)) == wall.saved
    assert saving(wall, 1.0) < saving(wall, 10.0) < saving(wall, 100.0) < 1


def test_operators_fall_into_the_classes_of_the_records():
    """By how their names begin; the longest class first."""
    rows = [Row("x", op, "x", "x", 1, cycles) for op, cycles in (("conv2d_statistics", 5), ("gelu", 7))]
    found = by_class(rows, 1e3, {"convolution": (3, 0.5)})
    assert found == [Class("element-wise", 1, 7.0, 0, None), Class("convolution", 1, 5.0, 3, 0.5)]
    assert [each.expected_ms for each in found] == [7.0, 10.0]


def test_classes_that_have_records_are_called_like_theirs():
    """But for what has none: attention, copies."""
    theirs = {rule.kind for rule in RULES.values()}
    assert {*KINDS.values(), ELEMENT_WISE} - theirs == {"attention", "copies"}


def test_every_what_if_changes_one_figure():
    """And says that there is no such chip."""
    for chip in changed(P).values():
        (key,) = chip.overrides
        assert chip.figures[key].source.startswith("a what-if")


def test_half_a_cube_takes_a_product_longer():
    """Twice the cycles for each."""
    assert changed(P)["half the cube"].peak_flops() == P.peak_flops() / 2


def test_a_chip_with_room_differs_in_nothing_else():
    """But its name."""
    assert set(roomy(P).overrides) == {"gm_bytes"}


def made_up(case: Case, factor: float) -> Waterfall:
    """Return a waterfall whose stages take less and less."""

    def bars(stages: Sequence[Stage]) -> tuple[Bar, ...]:
        times = [int(1e6 * factor * (20 - number)) for number, _ in enumerate(stages)]
        found = [Timed(t, 9, 5, t != times[0], 1e9, dict.fromkeys((0.0, 10.0, 100.0), t)) for t in times]
        return tuple(Bar(stage, each.ms, each) for stage, each in zip(stages, found, strict=True))

    return Waterfall(case, bars(ONE_BY_ONE), bars(WITHOUT))


def test_everything_that_was_found_is_reported(tmp_path):
    """Pages, tables and pictures, from made-up findings; a step that does not fit the chip is named."""
    rows = tuple(Row(f"x{n}", "conv2d", "conv2d", f"layer {n}, attention", 2, 5000, 40) for n in range(40))
    walls = tuple(made_up(Case(*case), n + 1) for n, case in enumerate((("resnet50", 32), ("bert", 96))))
    timed = replace(walls[0].whole.timed, rows=rows, cycles=200_000)
    published, other = read_published()["steps"][:2]
    found = Findings(
        P,
        tuple(Compared(walls[0].case, each, timed, timed) for each in (published, other)),
        tuple(ratios(lambda *_: 20.0)),
        walls,
        (Explained(walls[1].case, timed, ledger(rows, P)),),
        {"convolution": (3, 0.9)},
        tuple(WhatIf(walls[0].case, name, timed, timed) for name in changed(P)),
    )
    context = Context(False, tmp_path, 0, "ascend910a", Console(), Console())
    report.write(context, found)
    text = (tmp_path / "report.md").read_text()
    pictures = set(re.findall(r"!\[\]\((.*?)\)", text))
    assert pictures == {path.name for path in tmp_path.glob("*.png")}
    assert {path.name for path in context.artifacts} == {path.name for path in tmp_path.iterdir()}
    assert found.explained[0].difference == 0
    assert "ResNet-50, batch 32, op by op" in text
    assert "What the host takes to send a task, 10 us, is assumed: " in text
    assert "one stream, milliseconds" in text
    assert text.count("by class of operators") == 1, "a step that was published twice is told once"
    assert all(
        f"- {name}: " in text
        for name in json.loads(ratios_module.SOURCE.read_text())["_meta"]
        if name != "what"
    )
    assert json.loads((tmp_path / "claims.json").read_text())["what_ifs"][0]["times_as_fast"] == 1
    assert len(json.loads((tmp_path / "trace_bert_96.json").read_text())["traceEvents"]) == 40


@pytest.mark.slow
def test_the_quick_form_agrees_with_what_it_expects(answer, tmp_path):
    """It writes its report, with pictures that are there."""
    found = answer("experiment", "run", "claims", "--quick", "--out", tmp_path)
    assert found["ok"]
    text = (tmp_path / "report.md").read_text()
    pictures = re.findall(r"!\[\]\((.*?)\)", text)
    assert {"claims.png", "ledger.png"} <= set(pictures)
    assert all((tmp_path / name).is_file() for name in pictures)
