"""Parameters that a network gives new values while it computes."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import DavinciError, ShapeMismatch
from framework import Parameter, Tensor, grad, jit, nn, ops, value_and_grad, vmap
from framework.autodiff import recompute
from framework.frontend.source import CompileError


class Average(nn.Cell):
    """Moves an average of what passes, and takes it away."""

    def __init__(self, start=0.0):
        """Start the average."""
        super().__init__()
        self.scale = Parameter(np.float32(2.0))
        self.mean = Parameter(np.float32(start), requires_grad=False)

    def construct(self, x):
        """Return scale * (x - the new average)."""
        ops.assign(self.mean, 0.5 * self.mean + 0.5 * ops.reduce_mean(x))
        return self.scale * (x - self.mean)


class Chain(nn.Cell):
    """Equal layers one after the other, one of them twice."""

    def __init__(self):
        """Make two layers."""
        super().__init__()
        self.first, self.second = Average(1.0), Average(2.0)

    def construct(self, x):
        """Return the loss of three layers."""
        return ops.reduce_sum(self.first(self.second(self.first(x))))


X = Tensor(np.arange(4, dtype=np.float32))


def means(net):
    """Return the averages of a chain."""
    return [float(net.first.mean), float(net.second.mean)]


def by_hand(x):
    """Return value and averages of a chain, written out."""
    first, second, y = 1.0, 2.0, np.asarray(x)
    first = 0.5 * first + 0.5 * y.mean()
    y = 2 * (y - first)
    second = 0.5 * second + 0.5 * y.mean()
    y = 2 * (y - second)
    first = 0.5 * first + 0.5 * y.mean()
    return (2 * (y - first)).sum(), [first, second]


@pytest.mark.parametrize("device", [None, "ascend910a"])
def test_layers_that_share_a_func_renew_their_own_parameters(device):
    """Equal layers are one Func, called three times; each call reads what the one before has assigned."""
    net = Chain()
    compiled = jit(net, device=device)
    value, expected = by_hand(X.numpy())
    assert float(compiled(X)) == pytest.approx(value, rel=1e-6)
    assert means(net) == pytest.approx(expected, rel=1e-6)
    assert compiled.ir["traced"].count("func @Average(") == 1
    compiled(X)
    assert means(net) != pytest.approx(expected, rel=1e-6)


def test_compiled_and_eager_cells_assign_alike():
    """Python runs `construct` on Tensors, or compiles it: the Parameters end with the same values."""
    eager, compiled = Chain(), Chain()
    assert float(eager(X)) == pytest.approx(float(jit(compiled)(X)), rel=1e-6)
    assert means(eager) == pytest.approx(means(compiled), rel=1e-6)


def test_assignments_pass_through_gradients_as_constants_do():
    """value_and_grad gives value and gradient of the function, and the assignments are made once."""
    net = Chain()
    value, slope = value_and_grad(net, None, net.first.scale)(X)
    expected, after = by_hand(X.numpy())
    assert float(value) == pytest.approx(expected, rel=1e-6)
    assert means(net) == pytest.approx(after, rel=1e-6)
    fresh, step = Chain(), np.float32(1e-2)
    ends = []
    for sign in (1, -1):
        fresh = Chain()
        fresh.first.scale.set_data(np.float32(2 + sign * step))
        ends.append(float(fresh(X)))
    assert float(slope) == pytest.approx((ends[0] - ends[1]) / (2 * float(step)), rel=1e-3)


def test_a_gradient_inside_of_compiled_code_assigns():
    """The gradient of a Cell, taken in a function that is compiled, renews its Parameters."""
    net = Average(4.0)

    def slope(x):
        return grad(lambda x: ops.reduce_sum(net(x)))(x) + net.mean

    found = jit(slope)(X)
    assert float(net.mean) == 0.5 * 4 + 0.5 * 1.5
    np.testing.assert_allclose(found.numpy(), 2 - 4 * 2 * 0.5 / 4 + 2.75)


def test_recomputed_cells_assign_once():
    """What is computed again for the gradient gives no second assignment."""
    net = Average()
    slope = grad(recompute(lambda x: ops.reduce_sum(net(x))))(X)
    assert float(net.mean) == 0.75
    np.testing.assert_allclose(slope.numpy(), 1.0)


def test_what_was_read_before_stays_what_it_was():
    """A name for a Parameter's value keeps the value, inside of nested functions, too."""
    net = Average(1.0)

    def both(x):
        before = net.mean
        ops.assign(net.mean, x)

        def add(y):
            return before + y

        return add(net.mean), before

    total, before = jit(both)(Tensor(5.0))
    assert (float(total), float(before), float(net.mean)) == (6.0, 1.0, 5.0)


def test_layers_in_a_loop_over_cells_assign():
    """A `for` over Cells is a call for each of them."""

    class Stack(nn.Cell):
        def __init__(self):
            super().__init__()
            self.layers = nn.SequentialCell([Average(float(at)) for at in range(3)])
            self.cells_in_order = [each for _, each in self.layers.children()]

        def construct(self, x):
            for layer in self.cells_in_order:
                x = layer(x)
            return x

    looped, listed = Stack(), Stack()
    expected = listed.layers(X)
    np.testing.assert_allclose(jit(looped)(X).numpy(), expected.numpy(), rtol=1e-6)
    for one, other in zip(looped.cells_in_order, listed.cells_in_order, strict=True):
        assert float(one.mean) == pytest.approx(float(other.mean))


def test_an_assignment_in_a_branch_of_run_time_is_refused():
    """It would be made on one of two ways only."""
    net = Average()

    def once(x):
        if x > 0:
            ops.assign(net.mean, x)
        return x

    with pytest.raises(DavinciError) as refused:
        jit(once)(Tensor(1.0))
    assert str(refused.value).startswith(
        "Parameter(mean: float32[]) is assigned inside of a branch, a loop or a function of run time\n"
        "  rule: an assignment stands where each run comes by once\n"
        "  next: choose the new value there, and call ops.assign after it"
    )


def test_transforms_that_do_not_pass_assignments_on_refuse_them():
    """A batch of assignments to one Parameter has no meaning."""
    with pytest.raises(CompileError) as refused:
        vmap(Average())(X)
    assert str(refused.value) == (
        "vmap of Average: it assigns Parameter(mean: float32[])\n"
        "  rule: jit, grad, value_and_grad, recompute and training steps take functions that assign\n"
        "  next: return the new value beside the result, and assign it outside"
    )


def test_a_function_that_calls_itself_cannot_assign():
    """How often it assigns is known at run time only."""
    net = Average()

    def down(x, n):
        ops.assign(net.mean, x)
        return x if n < 1 else down(x, n - 1)

    with pytest.raises(CompileError) as refused:
        jit(down)(Tensor(1.0), Tensor(3))
    assert "down calls itself and assigns Parameter(mean: float32[])" in str(refused.value)


def test_a_value_of_another_type_is_refused():
    """A Parameter keeps its shape and its dtype."""
    net = Average()
    for run in (lambda f: f, jit):
        with pytest.raises(
            ShapeMismatch, match=r"parameter 'mean' is float32\[\], it cannot hold float32\[4\]"
        ):
            run(lambda x: ops.assign(net.mean, x))(X)
    with pytest.raises(DavinciError) as refused:
        ops.assign(X, X)
    assert "is no Parameter, or has had a new value since it was read" in str(refused.value)


def test_an_assignment_behind_and_is_no_plain_value():
    """`x > 0 and assign(...)` assigns on one way only, and is refused like a branch."""
    net = Average()
    with pytest.raises(DavinciError, match="is assigned inside of a branch"):
        jit(lambda x: x > 0 and ops.assign(net.mean, x) > 0)(Tensor(1.0))
    assert float(net.mean) == 0.0
