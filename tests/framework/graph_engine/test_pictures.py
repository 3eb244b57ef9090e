"""Pictures of graphs: what is drawn of a small graph, of a large one, and where."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from davinci_sim.platforms import platform
from framework import Tensor, models, nn, ops
from framework.frontend.trace import trace
from framework.graph_engine.data.graph import FLOW, TRANS_DATA
from framework.graph_engine.pictures.canvas import OTHER, chosen
from framework.graph_engine.pictures.diagram import JUMP, MOST_NODES, MOST_ROWS, diagram
from framework.graph_engine.pictures.graphs import ENGINES, draw_optimize, draw_prepare, draw_split
from framework.graph_engine.pictures.links import BACKWARD, FORWARD, PARTS, UPDATE
from framework.graph_engine.pictures.network import sketch
from framework.graph_engine.service.optimize import optimize
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import split
from framework.ir import Builder
from framework.ir.types import parse_type
from framework.passes import run
from framework.train import inference_step, initial_state

P = platform("ascend910a")


def training(name, batch):
    """Return the prepared graph of a training step."""
    step = models.model(name).training(models.config(name), batch)
    return prepare(step.func, held=step.held)


@pytest.fixture(scope="module")
def lenet():
    return split(training("lenet5", 2), P)


@pytest.fixture(scope="module")
def resnet():
    return training("resnet50", 2)


def graph_of(function, *arrays):
    """Return the prepared graph of a function."""
    return prepare(run(trace(function, [Tensor(each) for each in arrays], {}).func))


def names_in(found):
    """Return the names of the nodes in the boxes of a diagram."""
    return sorted(node.name for each in found.boxes for node in each.nodes)


def test_every_node_of_a_small_graph_has_a_box_of_its_own(lenet):
    found = diagram(lenet)
    assert len(lenet.nodes) <= MOST_NODES
    assert [each.nodes for each in found.boxes] == [(node,) for node in lenet.nodes]
    assert [each.title for each in found.boxes] == [node.op for node in lenet.nodes]


def test_a_box_tells_what_is_made_and_which_variables_are_read(lenet):
    conv = diagram(lenet).boxes[1]
    assert conv.details == ("6x1x5x5 float16", "reads conv1.weight")


def test_an_edge_leads_from_each_node_to_all_that_read_it(lenet):
    found = diagram(lenet)
    made = {name: at for at, node in enumerate(lenet.nodes) for name in node.outputs}
    wanted = {(made[name], at) for at, node in enumerate(lenet.nodes) for name in node.inputs if name in made}
    assert {(edge.start, edge.end) for edge in found.edges} == wanted


def test_forward_goes_down_and_backward_up_again(lenet):
    """So that a gradient stands beside what it is the gradient of."""
    found = diagram(lenet)
    parts = Counter(PARTS[each.part] for each in found.boxes)
    assert parts == {"forward": 27, "backward": 29, "update": 8}
    for edge in found.edges:
        start, end = found.boxes[edge.start], found.boxes[edge.end]
        if end.part == FORWARD:
            assert start.row < end.row
        elif start.part != FORWARD:
            assert start.row > end.row
    assert {each.title for each in found.boxes if each.part == UPDATE} == {"apply_momentum"}


def test_boxes_do_not_lie_over_each_other(lenet):
    drawn = sketch(diagram(lenet), ENGINES, {})
    rows: dict[float, list[tuple[float, float]]] = {}
    for (x, y), (width, _) in zip(drawn.layout.places, drawn.sizes, strict=True):
        rows.setdefault(y, []).append((x - width / 2, x + width / 2))
    for row in map(sorted, rows.values()):
        assert all(left[1] < right[0] for left, right in pairwise(row))


def test_conversions_and_formats_are_seen():
    """An inserted conversion is a box, and edges tell the formats of their values."""
    net = nn.Dense(64, 96, seed=1).to_float("float16")
    func = inference_step(net, parse_type("float32[32, 64]"))
    found = diagram(optimize(split(prepare(func, held=initial_state(net)), P), P))
    (conversion, *_) = (at for at, each in enumerate(found.boxes) if each.title == TRANS_DATA)
    assert found.boxes[conversion].details == ("32x64 float16 NZ",)
    assert [edge.format for edge in found.edges if edge.start == conversion] == ["NZ"]
    assert [edge.format for edge in found.edges if edge.end == conversion] == ["ND"]


def test_a_large_graph_is_drawn_by_its_layers(resnet):
    """ResNet-50: a row per block, what is forward at the left, its gradient beside it, then the updates."""
    found = diagram(resnet)
    assert len(resnet.nodes) > MOST_NODES
    assert names_in(found) == sorted(node.name for node in resnet.nodes)
    rows = [each.title for each in found.boxes if each.part == FORWARD]
    assert rows == ["stem.conv", "stem.bn", *(f"blocks.{at}" for at in range(16)), "fc"]
    for part in (BACKWARD, UPDATE):
        assert [each.title for each in found.boxes if each.part == part] == rows
    assert max(each.row for each in found.boxes) < MOST_ROWS


def test_the_columns_of_a_large_graph_are_straight(resnet):
    drawn = sketch(diagram(resnet), ENGINES, {})
    places = {(each.part, x) for each, (x, _) in zip(drawn.diagram.boxes, drawn.layout.places, strict=True)}
    assert [part for part, _ in sorted(places, key=lambda place: place[1])] == [FORWARD, BACKWARD, UPDATE]


def test_a_network_without_names_is_drawn_in_runs():
    """What holds no variables is cut into runs of nodes that follow each other."""
    builder = Builder()
    x = builder.param(parse_type("float32[4]"), "x")
    for _ in range(300):
        x = ops.exp(x)
    graph = prepare(builder.finish("long", [x]))
    found = diagram(graph)
    assert names_in(found) == sorted(node.name for node in graph.nodes)
    assert [each.title for each in found.boxes[:2]] == ["nodes 0 to 12", "nodes 13 to 25"]
    assert [(edge.start, edge.end) for edge in found.edges] == [(at, at + 1) for at in range(23)]


def test_jumps_are_edges_of_their_own():
    """Labels and jumps make no values: they are tied to what they follow, and to where they lead."""

    def turns(x):
        while ops.reduce_sum(x) < 100.0:
            x = x + x
        return x

    graph = graph_of(turns, np.ones(4, np.float32))
    found = diagram(graph)
    assert any(node.op in FLOW for node in graph.nodes)
    back = [edge for edge in found.edges if edge.format == JUMP and edge.start > edge.end]
    assert back
    assert {found.boxes[edge.end].title for edge in back} == {"label"}


def test_a_graph_of_one_node_has_pictures():
    graph = split(graph_of(ops.relu, np.ones(4, np.float32)), P)
    for figure in (draw_prepare(graph), draw_split(graph), draw_optimize(graph, graph)):
        assert figure.axes


def test_an_operator_has_one_colour_in_all_pictures():
    """What is known decides; what has no known colour is grey."""
    assert chosen({"add": 3.0, "mul": 9.0}, {"mul": "#123456"}) == {"add": OTHER, "mul": "#123456"}
