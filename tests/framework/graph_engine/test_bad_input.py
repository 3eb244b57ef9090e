"""What a user can give wrongly to the graph engine, and what is said then, word by word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.errors import DavinciError, ShapeMismatch, UnknownName
from davinci_sim.platforms import platform
from framework import Model, Tensor, jit, nn, ops
from framework.frontend.trace import trace
from framework.graph_engine import Options, Session
from framework.graph_engine.data.graph import Graph, Node, Value
from framework.graph_engine.service.compile import compile_graph
from framework.graph_engine.service.optimize import optimize
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import placement, split
from framework.graph_engine.service.validate import IllFormedGraph, typed, validated
from framework.ir.types import parse_type
from framework.models import bert, lenet5
from framework.optim import Momentum
from framework.passes import run
from framework.train import inference_step, initial_state, training_step
from framework.train.runner import HostRunner

P = platform("ascend910a")
VECTOR = parse_type("float32[4]")


def product(x, w):
    """Return relu(x @ w)."""
    return ops.relu(ops.matmul(x, w))


X, W = np.ones((20, 40), np.float16), np.ones((40, 30), np.float16)
PRODUCT = run(trace(product, [Tensor(X), Tensor(W)], {}).func)


def message(kind, act) -> str:
    """Return what is said when an act is refused with an error of a kind."""
    with pytest.raises(kind) as refused:
        act()
    return str(refused.value)


def small(gm_bytes: int) -> Chip:
    """Return a chip with little memory."""
    return Chip(P.with_figures("small", gm_bytes=replace(P.figure("gm_bytes"), value=gm_bytes)))


# Graphs


def chain(*links: str) -> Graph:
    """Return a graph of relus; a link `a>b` reads %a and makes %b, %x is the input, %y the result."""
    nodes = tuple(
        Node(f"relu.{at}", "relu", (link.split(">")[0],), (link.split(">")[1],))
        for at, link in enumerate(links)
    )
    names = {name for node in nodes for name in (*node.inputs, *node.outputs)}
    values = {name: Value(name, VECTOR) for name in sorted(names | {"y"})}
    return Graph("g", {**values, "x": Value("x", VECTOR, "input")}, nodes, ("x",), ("y",), {})


def test_nodes_that_wait_for_each_other_are_named():
    """In the order in which they would run."""
    assert message(IllFormedGraph, lambda: validated(chain("b>a", "a>b", "x>y"))) == (
        "graph g: its nodes form a cycle\n  relu.1 -> relu.0 -> relu.1\n"
        "  rule: no node waits for itself\n  next: let one of them read another value"
    )


def test_of_a_long_cycle_the_first_nodes_are_named():
    links = [f"v{(at + 1) % 1000}>v{at}" for at in range(1000)]
    told = message(IllFormedGraph, lambda: validated(chain(*links, "x>y")))
    assert "... 992 more" in told
    assert len(told) < 300


def test_a_node_that_reads_what_nobody_makes_is_named():
    assert message(IllFormedGraph, lambda: validated(chain("nothing>y"))) == (
        "graph g: relu.0 reads %nothing, which nobody makes\n"
        "  next: add the node that makes it, or let it be an input, a variable or a constant"
    )


def test_a_node_that_comes_too_early_is_named():
    assert message(IllFormedGraph, lambda: validated(chain("a>y", "x>a"))) == (
        "graph g: relu.0 reads %a, which relu.1 makes later\n"
        "  rule: nodes stand in the order in which they run"
    )


def test_a_value_has_one_maker():
    assert message(IllFormedGraph, lambda: validated(chain("x>y", "x>y"))) == (
        "graph g: relu.0 and relu.1 make %y\n  rule: every value has one maker"
    )
    assert message(IllFormedGraph, lambda: validated(chain("x>y", "y>x"))) == (
        "graph g: relu.1 makes %x, the input\n  rule: nobody makes it"
    )


def test_results_and_names_stand_for_something():
    """Each message names the node, or the value."""
    graph = chain("x>y")
    assert message(IllFormedGraph, lambda: validated(replace(graph, nodes=()))) == (
        "graph g: it returns %y, which nobody makes"
    )
    assert message(IllFormedGraph, lambda: validated(replace(graph, nodes=graph.nodes * 2))) == (
        "graph g: two nodes are called relu.0\n  rule: every node has its own name"
    )
    lost = replace(graph, values={"x": graph.values["x"]})
    assert message(IllFormedGraph, lambda: validated(lost)) == (
        "graph g: relu.0 names %y, which is no value of the graph\n"
        "  next: enter it into values, with its type"
    )
    assert message(IllFormedGraph, lambda: validated(replace(graph, updates={"y": "x"}))) == (
        "graph g: %y renews %x, which is the input %x: float32[4] @ND\n"
        "  rule: what is renewed is a variable, float32[4] like its new content"
    )


@given(st.permutations(range(6)))
@settings(deadline=None)
def test_of_all_orders_of_a_chain_one_can_run(order):
    """Any other is refused, and no cycle is seen where there is none."""
    links = ["x>a", "a>b", "b>c", "c>d", "d>e", "e>y"]
    graph = chain(*(links[at] for at in order))
    if list(order) == sorted(order):
        assert validated(graph) is graph
    else:
        assert "makes later" in message(IllFormedGraph, lambda: validated(graph))


def test_types_follow_from_the_table_of_operators():
    """Wrong types, inputs that an operator refuses, and unknown operators."""
    graph = chain("x>y")
    wrong = replace(graph, values={**graph.values, "y": Value("y", parse_type("float16[4]"))})
    assert message(IllFormedGraph, lambda: typed(wrong)) == (
        "graph g: relu.0 gives (float32[4]), its outputs say (float16[4])\n"
        "  rule: relu of (float32[4]) decides"
    )
    twice = replace(graph, nodes=(Node("matmul.0", "matmul", ("x", "x"), ("y",)),))
    assert message(IllFormedGraph, lambda: typed(twice)).startswith(
        "graph g: matmul.0 cannot run\n  matmul: "
    )
    typo = replace(graph, nodes=(Node("rleu.0", "rleu", ("x",), ("y",)),))
    assert message(UnknownName, lambda: typed(typo)).startswith("unknown operator 'rleu': did you mean relu")


def test_a_pass_that_breaks_a_graph_is_named(monkeypatch):
    """Here one that forgets the first node."""

    def forgetful(graph, platform, names):
        return graph.with_nodes(graph.nodes[1:])

    monkeypatch.setattr("framework.graph_engine.service.optimize.fuse", forgetful)
    assert message(IllFormedGraph, lambda: optimize(split(prepare(PRODUCT), P), P)).startswith(
        "graph product after the pass fuse: relu.1 reads %"
    )


def test_a_kernel_that_takes_more_than_there_is_is_named():
    """A lowering, or a pass, gave it a wrong length."""
    graph = optimize(split(prepare(PRODUCT), P), P, Options(fusion=False))
    relu = next(node for node in graph.nodes if node.op == "relu")
    (launch,) = relu.launches
    longer = replace(relu, launches=(replace(launch, axes={"n": 9999}),))
    wrong = replace(graph, nodes=tuple(longer if node is relu else node for node in graph.nodes))
    told = message(IllFormedGraph, lambda: compile_graph(wrong, P))
    assert told == (
        f"{relu.name}: kernel relu takes 19,998 bytes as x, {graph.values[relu.inputs[0]]} has 2,048\n"
        "  rule: an operand lies within its value, in its format\n"
        "  next: look at the lowering of the operator, or at the pass that made the node"
    )


# Sessions


def test_what_is_no_func_no_chip_and_no_options_is_refused():
    assert message(DavinciError, lambda: Session(product, Chip(P))) == (
        "a Session takes a Func, given function product\n"
        "  next: trace it with jit(f, device=...), or make one with training_step(...)"
    )
    assert message(DavinciError, lambda: Session(PRODUCT, "ascend910a")) == (
        "a Session takes a Chip, given str 'ascend910a'\n  next: make one with Chip(\"ascend910a\")"
    )
    assert message(DavinciError, lambda: Session(PRODUCT, Chip(P), options={"fusion": False})) == (
        "a Session takes Options, given dict {'fusion': False}\n"
        "  next: make them with Options(fusion=False, ...)"
    )


def test_devices_that_there_are_not_are_refused():
    told = message(UnknownName, lambda: jit(product, device="ascend911")(Tensor(X), Tensor(W)))
    assert told.startswith("unknown platform 'ascend911': did you mean ascend910")


@pytest.mark.parametrize(
    ("feeds", "told"),
    [
        (
            {"x": X[None]},
            "@product takes x, w, it is fed x\n  next: feed every input, with an axis of steps in front",
        ),
        (
            {"x": X[None], "w": W[None], "b": X[None]},
            "@product takes x, w, it is fed x, w, b\n"
            "  next: feed every input, with an axis of steps in front",
        ),
        (
            {"x": X, "w": W},
            "input x of product: given float16[20, 40]\n  rule: it was compiled for float16[steps, 20, 40]\n"
            "  next: compile for the other type, or feed whole batches of this one",
        ),
        (
            {"x": X[None].astype(np.float32), "w": W[None]},
            "input x of product: given float32[1, 20, 40]\n"
            "  rule: it was compiled for float16[steps, 20, 40]\n"
            "  next: compile for the other type, or feed whole batches of this one",
        ),
        (
            {"x": X[None], "w": "weights"},
            "input w of product is no array of numbers: given str",
        ),
        (
            {"x": np.stack([X, X]), "w": W[None]},
            "@product is fed rows for {'x': 2, 'w': 1} steps\n"
            "  rule: all inputs have the same number, at least 1",
        ),
        (
            {"x": X[None][:0], "w": W[None][:0]},
            "@product is fed rows for {'x': 0, 'w': 0} steps\n"
            "  rule: all inputs have the same number, at least 1",
        ),
    ],
    ids=["missing", "too many", "no steps", "other dtype", "text", "uneven", "none"],
)  # fmt: skip
def test_what_does_not_fit_the_inputs_is_refused(feeds, told):
    """And nothing runs: the next step is right."""
    session = Session(PRODUCT, Chip(P))
    assert message(DavinciError, lambda: session.run(feeds)) == told
    (found,) = session.run({"x": X[None], "w": W[None]}).outputs.values()
    assert (found == 40).all()


def test_a_state_that_does_not_fit_is_refused():
    """By name, when a session is made and when its variables are replaced; on the host alike."""
    net = nn.Dense(8, 4)
    types = parse_type("float32[2, 8]"), parse_type("int32[2]")
    optimizer = Momentum(net.trainable_params(), 0.1)
    func = training_step(net, nn.SoftmaxCrossEntropyWithLogits(), optimizer, *types)
    lacks = (
        "the state of train_Dense lacks weight, bias, moments.weight, moments.bias; "
        "make it with initial_state(net, optimizer)"
    )
    assert message(DavinciError, lambda: Session(func, Chip(P))) == lacks
    session = Session(PRODUCT, Chip(P), {"w": W})
    other = "w in the state of product: given float16[20, 40]\n  rule: it is float16[40, 30]"
    assert message(ShapeMismatch, lambda: Session(PRODUCT, Chip(P), {"w": X})) == other
    assert message(ShapeMismatch, lambda: session.set_variables({"w": X})) == other
    assert message(ShapeMismatch, lambda: HostRunner(PRODUCT, {"w": X})) == other
    assert (session.variables()["w"] == W).all()


def test_a_chip_without_data_runs_nothing():
    session = Session(PRODUCT, Chip(P, data=False))
    told = message(DavinciError, lambda: session.run({"x": X[None], "w": W[None]}))
    assert told.partition(": ")[2] == (
        "write needs data\n  rule: a chip made with data=False tells time and holds no data\n"
        '  next: make it with Chip("ascend910a"), which holds them'
    )


# Options


def test_options_that_there_are_not_are_refused():
    assert message(UnknownName, lambda: Options(mode="grpah")) == (
        "unknown mode 'grpah': did you mean graph? Known: graph, op-by-op"
    )
    assert message(UnknownName, lambda: Options(precision="fp16")) == (
        "unknown precision 'fp16'; known: force_fp16, keep, mixed"
    )
    assert message(UnknownName, lambda: Options(fusions="some")) == (
        "unknown set of fusions 'some'; known: all, none, real"
    )
    assert message(UnknownName, lambda: Options(fusions=frozenset({"matmul_bais"}))).startswith(
        "unknown fusion 'matmul_bais': did you mean matmul_bias"
    )
    assert message(DavinciError, lambda: Options(fusion="no")) == (
        "Options: fusion is 'no', it is True or False"
    )


# Operators


def test_an_operator_without_a_kernel_runs_elsewhere_and_says_where():
    """Small ones on the AI CPU, large ones on the host, which the profile counts."""
    x = np.ones((200, 300), np.float32)
    session = Session(run(trace(lambda x: ops.relu(ops.sin(x)), [Tensor(x)], {}).func), Chip(P))
    assert placement(session.placed).splitlines()[:2] == [
        "subgraph 0 on host: 1 nodes",
        "  sin.0                            host    no kernel computes sin; aicpu 70.0 us, host 54.0 us",
    ]
    session.run({"x": x[None]})
    assert session.profile().host_round_trips == 1


# Networks


def parts(**changed):
    """Make a training step of a dense layer, with something changed."""
    net = nn.Dense(8, 4)
    given = {
        "net": net, "loss": nn.SoftmaxCrossEntropyWithLogits(),
        "optimizer": Momentum(net.trainable_params(), 0.1),
        "inputs": (parse_type("float32[2, 8]"), parse_type("int32[2]")), **changed,
    }  # fmt: skip
    inputs = given.pop("inputs")
    net, loss, optimizer = given.pop("net"), given.pop("loss"), given.pop("optimizer")
    return training_step(net, loss, optimizer, *inputs, **given)


TYPES = 'next: parse_type("float32[2, 3]") and TensorType.of(array) make types'
WHOLE = "rule: sizes are whole numbers of at least 1; usual is"
CELL = "rule: it is a Cell\n  next: put it into the construct of a class of nn.Cell"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"net": product}, f"the network is the function product\n  {CELL}"),
        ({"loss": product}, f"the loss is the function product\n  {CELL}"),
        (
            {"optimizer": None},
            "the optimizer is None of type NoneType\n"
            "  next: give one, for example optim.Momentum(net.trainable_params(), 0.1)",
        ),
        (
            {"optimizer": Momentum(nn.Dense(8, 4).trainable_params(), 0.1)},
            "the optimizer trains weight, bias ..., and nothing of this Dense\n"
            "  rule: it is made of the parameters of the network\n"
            "  next: make it with net.trainable_params() of this network",
        ),
        (
            {"inputs": ()},
            "there are no inputs\n  rule: the last one is that of the loss, SoftmaxCrossEntropyWithLogits\n"
            f"  {TYPES}",
        ),
        ({"inputs": (X,)}, f"input 0 is a ndarray\n  rule: inputs are given as types\n  {TYPES}"),
        (
            {"inputs": (VECTOR, "int32[2]")},
            f"input 1 is 'int32[2]' of type str\n  rule: inputs are given as types\n  {TYPES}",
        ),
        ({"loss_scale": 0}, "loss_scale is 0, it must be a number above 0"),
        ({"loss_scale": "big"}, "loss_scale is 'big', it must be a number above 0"),
        ({"clip_norm": -1.0}, "clip_norm is -1.0, it must be a number above 0"),
    ],
)
def test_parts_that_make_no_step_are_refused(changed, told):
    assert message(DavinciError, lambda: parts(**changed)) == f"training_step: {told}"


def test_shapes_that_do_not_match_are_shown_where_the_layer_meets_them():
    """With the line of the layer."""
    types = parse_type("float32[2, 9]"), parse_type("int32[2]")
    told = message(ShapeMismatch, lambda: parts(inputs=types)).splitlines()
    assert told[0] == (
        "matmul: float32[2, 9] and float32[4, 8] transposed do not match: "
        "k is 9 on the left and 8 on the right"
    )
    assert "framework/nn/layers.py:" in told[1]
    assert message(DavinciError, lambda: inference_step(nn.Dense(8, 4), X)) == (
        f"inference_step: input 0 is a ndarray\n  rule: inputs are given as types\n  {TYPES}"
    )


@pytest.mark.parametrize("batch", [0, -1, 1.5, "2"])
def test_a_batch_that_is_no_number_of_samples_is_refused(batch):
    for step in ("training", "inference"):
        told = message(DavinciError, lambda: getattr(lenet5, step)(lenet5.Config(), batch))  # noqa: B023
        assert told == (
            f"{step}_step: input 0 is float32[{batch}, 1, 32, 32]\n"
            "  rule: lengths are whole numbers of at least 1\n  next: look at the size of the batch"
        )


@pytest.mark.parametrize(
    ("model", "sizes", "told"),
    [
        (lenet5, {"classes": 0}, f"lenet5: classes is 0\n  {WHOLE} 10"),
        (
            lenet5,
            {"compute_dtype": "int32"},
            "lenet5: compute_dtype is int32\n  rule: networks compute in floats\n"
            '  next: give "float16", or None for what the weights have',
        ),
        (bert, {"layers": -1}, f"bert: layers is -1\n  {WHOLE} 24"),
        (
            bert,
            {"sequence": 1024},
            "bert: sequence is 1024, positions is 512\n  rule: there are at most as many sequence\n"
            "  next: make sequence smaller, or positions larger",
        ),
    ],
)  # fmt: skip
def test_sizes_that_cannot_be_are_refused(model, sizes, told):
    assert message(DavinciError, lambda: model.Config(**sizes)) == told


class Once:
    """A data set of one batch."""

    def __init__(self, x, labels):
        self.batch = (x, labels)

    def __len__(self):
        return 1

    def epoch(self, _):
        yield self.batch


def test_a_model_refuses_batches_of_another_size():
    """Its step was compiled for the first one."""
    model = classifier()
    model.train(1, Once(np.ones((2, 8), np.float32), np.zeros(2, np.int32)))
    other = Once(np.ones((3, 8), np.float32), np.zeros(3, np.int32))
    assert message(ShapeMismatch, lambda: model.train(1, other)) == (
        "input x of train_Dense: given float32[1, 3, 8]\n"
        "  rule: it was compiled for float32[steps, 2, 8]\n"
        "  next: compile for the other type, or feed whole batches of this one"
    )


def classifier() -> Model:
    """Return a Model of 4 classes on the chip."""
    net = nn.Dense(8, 4)
    optimizer = Momentum(net.trainable_params(), 0.1)
    return Model(net, nn.SoftmaxCrossEntropyWithLogits(), optimizer, device="ascend910a")


def test_labels_of_no_class_and_steps_of_none_are_refused():
    """A device would compute with them, and tell nothing."""
    x, labels = np.ones((2, 8), np.float32), np.array([1, 4], np.int32)
    assert message(DavinciError, lambda: classifier().train(1, Once(x, labels))) == (
        "train: labels of batch 0 of epoch 1 lie between 1 and 4\n"
        "  rule: they lie between 0 and 3, the network tells 4 classes apart\n"
        "  next: look at the data set, or let the network have more classes"
    )
    assert message(DavinciError, lambda: classifier().train(1, Once(x, labels), sink_size=0)) == (
        "train: sink_size is 0, it must be a whole number of at least 1 step"
    )


def test_a_network_without_numbers_is_not_trained():
    with nn.shapes_only():
        net = nn.Dense(8, 4)
    assert message(DavinciError, lambda: initial_state(net)) == (
        "initial_state: weight has a shape and no numbers\n"
        "  rule: what nn.shapes_only() makes can be compiled and timed, not run\n"
        "  next: make the network outside of it, or use a Chip(data=False), for which names are enough"
    )
