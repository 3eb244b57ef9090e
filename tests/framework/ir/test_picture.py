"""Pictures of Funcs: Graphviz text, the layout and the files."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings

from davinci_sim.errors import DavinciError
from framework import ops
from framework.dtypes import float32
from framework.ir import Builder, Func, TensorType, parse_func
from framework.ir.picture import draw, to_dot
from framework.ir.picture.draw import arranged
from framework.ir.picture.graph import distinct_graphs, graph_of
from framework.ir.picture.layout import Gaps, in_layers, layered
from tests.framework.funcs import funcs

GAPS = Gaps(nodes=0.2, lines=0.05, layers=0.3)
SOME = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))

BRANCH = """
func @then(%x: float32[]) {
  %0: float32[] = mul(%x, float32[]{2.0})
  return %0
}
func @orelse(%x: float32[]) {
  return %x
}
func @f(%c: bool[], %x: float32[]) {
  %0: float32[] = if(%c, %x, then=@then, orelse=@orelse)
  check(%c, message='say "c"')
  return %0
}
"""


def test_dot_text_of_a_branch():
    """The golden of the Graphviz text: a cluster per Func, nodes, lines, and dashed ones to the branches."""
    lines = [line.strip() for line in to_dot(parse_func(BRANCH)).splitlines()]
    assert lines[0] == "digraph func {"
    assert lines[4:] == [
        "subgraph cluster_0 {",
        'label="@f"',
        'n0_0 [label="%c\\nbool[]", shape=ellipse, fillcolor="#dce8f5"]',
        'n0_1 [label="%x\\nfloat32[]", shape=ellipse, fillcolor="#dce8f5"]',
        'n0_2 [label="if(%c, %x)\\n%0: float32[]", shape=hexagon, fillcolor="#fbe5cc"]',
        'n0_3 [label="check(%c)  message=\'say \\"c\\"\'", shape=octagon, fillcolor="#f8d7da"]',
        'n0_4 [label="return %0\\nfloat32[]", shape=ellipse, fillcolor="#d8eedd"]',
        "n0_0 -> n0_2",
        "n0_1 -> n0_2",
        "n0_0 -> n0_3",
        "n0_2 -> n0_4",
        "subgraph cluster_1 {",
        'label="@then"',
        'n1_0 [label="%x\\nfloat32[]", shape=ellipse, fillcolor="#dce8f5"]',
        'n1_1 [label="mul(%x, 2.0)\\n%0: float32[]", shape=box, fillcolor="#ffffff"]',
        'n1_2 [label="return %0\\nfloat32[]", shape=ellipse, fillcolor="#d8eedd"]',
        "n1_0 -> n1_1",
        "n1_1 -> n1_2",
        "}",
        "subgraph cluster_2 {",
        'label="@orelse"',
        'n2_0 [label="%x\\nfloat32[]", shape=ellipse, fillcolor="#dce8f5"]',
        'n2_1 [label="return %x\\nfloat32[]", shape=ellipse, fillcolor="#d8eedd"]',
        "n2_0 -> n2_1",
        "}",
        "}",
        'n0_2 -> n1_0 [lhead=cluster_1, style=dashed, label="then"]',
        'n0_2 -> n2_0 [lhead=cluster_2, style=dashed, label="orelse"]',
        "}",
    ]


@SOME
@given(funcs(2))
def test_dot_text_names_every_node_once(func):
    """Every Func is one cluster, every node is defined once, and lines join nodes that there are."""
    text = to_dot(func)
    graphs = distinct_graphs(func)
    defined = re.findall(r"^\s*(n\d+_\d+) \[label", text, re.MULTILINE)
    assert sorted(defined) == sorted(
        f"n{number}_{at}" for number, each in enumerate(graphs) for at in range(len(each.nodes))
    )
    assert text.count("subgraph cluster_") == len(graphs)
    assert text.count("{\n") == text.count("}\n") + 1
    assert {end for line in re.findall(r"(n\d+_\d+) -> (n\d+_\d+)", text) for end in line} <= set(defined)


def test_what_is_called_at_several_places_is_one_cluster_beside_the_others():
    """A layer that is called twice stands in the picture once, at the top level."""
    builder = Builder()
    layer = builder.finish("layer", [ops.exp(builder.param(TensorType((2,), float32), "x"))])
    builder = Builder()
    x = builder.param(TensorType((2,), float32), "x")
    for _ in range(2):
        (x,) = builder.call(layer, [x])
    text = to_dot(builder.finish("net", [x]))
    assert text.count("\n  subgraph cluster_1 {") == 1
    assert text.count("lhead=cluster_1") == 2


@SOME
@given(funcs(2))
def test_nodes_of_a_layer_keep_their_distance_and_lines_lead_down(func):
    """No two nodes overlap, and what uses a value lies below it."""
    for graph in distinct_graphs(func):
        sizes = [(0.5 + 0.1 * (at % 7), 0.3) for at in range(len(graph.nodes))]
        layout = layered(graph, sizes, GAPS)
        by_layer: dict[float, list[tuple[float, float]]] = {}
        for (x, y), (width, _) in zip(layout.places, sizes, strict=True):
            by_layer.setdefault(y, []).append((x - width / 2, x + width / 2))
        for layer in by_layer.values():
            assert all(a[1] + GAPS.nodes <= b[0] + 1e-6 for a, b in pairwise(sorted(layer)))
        for route in layout.routes:
            assert all(upper[1] < lower[1] for upper, lower in pairwise(route))
        assert all(-1e-6 <= x <= layout.size[0] + 1e-6 for x, _ in layout.places)


def test_weights_lie_just_above_their_use():
    """What uses nothing does not pull a line through the whole picture."""
    builder = Builder()
    x, w = (builder.param(TensorType((), float32), name) for name in ("x", "w"))
    for _ in range(5):
        x = ops.exp(x)
    graph = graph_of(builder.finish("f", [x * w]))
    layout = layered(graph, [(1.0, 1.0)] * len(graph.nodes), GAPS)
    assert layout.places[1][1] == layout.places[6][1]


def test_edges_from_one_node_share_their_bends():
    """One line leads from a value to all who read it, and leaves at the layer of each."""
    edges = [(0, 1), (1, 2), (2, 3), (0, 2), (0, 3)]
    layout = in_layers(edges, [0, 1, 2, 3], [(1.0, 1.0)] * 4, GAPS)
    assert layout.routes[3][1] == layout.routes[4][1]
    assert len(layout.routes[4]) == 4


def test_columns_may_be_straight_and_edges_lead_up_and_to_the_side():
    """Forward down one column, backward up the other: equal ranks lie side by side."""
    edges = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5), (0, 2)]
    layout = in_layers(edges, [0, 1, 2, 2, 1, 0], [(1.0, 1.0)] * 6, GAPS, [0, 0, 0, 1, 1, 1], True)
    assert len({x for x, _ in layout.places[:3]}) == len({x for x, _ in layout.places[3:]}) == 1
    assert layout.places[5][0] - layout.places[0][0] >= 1.0 + GAPS.nodes
    assert layout.routes[5] == [layout.places[0], layout.places[5]]
    (_, (x, _), _) = layout.routes[6]
    assert layout.places[0][0] + 0.5 < x < layout.places[5][0] - 0.5


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_picture_is_the_same_file_every_time(tmp_path, suffix, magic):
    """PNG and SVG are written whole, also into a new folder, with the same bytes for the same Func."""
    paths = [draw(parse_func(BRANCH), tmp_path / f"new{at}" / f"f.{suffix}") for at in range(2)]
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(magic)
    assert first == second


def test_what_cannot_be_drawn_is_said(tmp_path):
    """Another kind of file and a Func that is too large are refused with what to do instead."""
    with pytest.raises(DavinciError, match=r"cannot draw .*f\.pdf: the name must end in \.png or \.svg"):
        draw(parse_func(BRANCH), tmp_path / "f.pdf")
    builder = Builder()
    x = builder.param(TensorType((), float32), "x")
    for _ in range(500):
        x = ops.exp(x)
    with pytest.raises(DavinciError) as caught:
        draw(builder.finish("long", [x]), tmp_path / "f.png")
    assert str(caught.value) == (
        "cannot draw @long: it has 502 nodes, a picture shows up to 400\n"
        "  next: draw one of the Funcs that it calls, or give to_dot(func) to Graphviz"
    )


def test_texts_in_nodes_are_short():
    """Long constants are their type, long texts are cut, recursion is told."""
    text = "func @f(%x: float32[3]) {\n  %0: float32[3] = add(%x, float32[3]{1.0, 2.0, 3.0})\n  return %0\n}"
    assert graph_of(parse_func(text)).nodes[1].title == "add(%x, float32[3])"
    many = ", ".join(f"%x{at}: float32[]" for at in range(9))
    func = parse_func(f"func @f({many}) {{\n  return {', '.join(f'%x{at}' for at in range(9))}\n}}")
    assert graph_of(func).nodes[-1].title == "return %x0, %x1, %x2, %x3, %x4, %x5, %x6, %…"
    call = parse_func("func @f(%x: float32[]) {\n  %0: float32[] = call @f(%x)\n  return %0\n}")
    assert isinstance(call, Func)
    assert graph_of(call).nodes[1].title == "call @f again(%x)"


@SOME
@given(funcs(2))
def test_panels_do_not_lie_over_each_other(func):
    """Each Func has a box of its own, right of the one that it stands in."""
    panels = arranged(distinct_graphs(func))
    for at, a in enumerate(panels):
        for b in panels[at + 1 :]:
            beside = a.left + a.width <= b.left + 1e-6 or b.left + b.width <= a.left + 1e-6
            below = a.top + a.height <= b.top + 1e-6 or b.top + b.height <= a.top + 1e-6
            assert beside or below, (a.graph.func.name, b.graph.func.name)


def test_the_first_axis_is_told_and_a_plain_no_is_not():
    """Operands and attributes stand beside the name of the operator."""
    builder = Builder()
    x = builder.param(TensorType((2, 3), float32), "x")
    graph = graph_of(builder.finish("f", [ops.reduce_sum(x, 0)]))
    assert graph.nodes[1].title == "reduce_sum(%x)  axes=(0,)"


def test_what_a_loop_keeps_is_told():
    """Operands stand in their order, what is kept and how often, and every output has its type."""
    outputs = ", ".join(f"%{at}: stack<float32[64, 64]>" for at in range(1, 4))
    text = f"""
func @more(%x: float32[64, 64]) {{
  return bool[]{{1}}
}}
func @body(%x: float32[64, 64]) {{
  return %x, %x, %x, %x
}}
func @f(%x: float32[64, 64]) {{
  %0: float32[64, 64], {outputs} = while(%x, cond=@more, body=@body, invariants=0, saves=3)
  return %0
}}
"""
    loop = graph_of(parse_func(text)).nodes[1]
    assert loop.title == "while(%x)  saves=3"
    assert loop.details == (
        "%0: float32[64, 64], %1: stack<float32[64, 64]>,",
        "%2: stack<float32[64, 64]>,",
        "%3: stack<float32[64, 64]>",
    )
