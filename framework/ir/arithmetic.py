"""Operators and methods that tensors and symbolic values share; each is one operator of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from davinci_sim.errors import DavinciError
from framework.dtypes import DType
from framework.ir.registry import operator

if TYPE_CHECKING:
    from framework.ir.types import TensorType


LARGEST_PRODUCT = 64
"""Whole powers up to this one are written as products."""


class Arithmetic:
    """Mix-in: `+ - * / @`, comparisons and the usual methods."""

    is_symbolic = False
    """Whether it stands for a value of a program that is being written."""

    @property
    def type(self) -> TensorType:
        """Return shape and dtype."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        """Return the element type."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return self.type.ndim

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return self.type.size

    @property
    def T(self) -> Any:  # noqa: N802  (NumPy's name)
        """Return the tensor with its axes reversed."""
        return self.transpose()

    def astype(self, dtype: DType | str) -> Any:
        """Return the values in another dtype."""
        return operator("cast")(self, dtype)

    def reshape(self, *shape: Any) -> Any:
        """Return the values in another shape; one length may be -1."""
        return operator("reshape")(
            self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        )

    def transpose(self, *perm: int) -> Any:
        """Return the tensor with permuted axes, reversed without arguments."""
        return operator("transpose")(self, perm or tuple(reversed(range(self.ndim))))

    def sum(self, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
        """Return the sum over axes, all of them by default."""
        return operator("reduce_sum")(self, axes, keepdims)

    def mean(self, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
        """Return the mean over axes, all of them by default."""
        return operator("reduce_mean")(self, axes, keepdims)

    def max(self, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
        """Return the maximum over axes, all of them by default."""
        return operator("reduce_max")(self, axes, keepdims)

    def min(self, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
        """Return the minimum over axes, all of them by default."""
        return operator("reduce_min")(self, axes, keepdims)

    def prod(self, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
        """Return the product over axes, all of them by default."""
        return operator("reduce_prod")(self, axes, keepdims)

    def all(self, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
        """Return whether all hold over axes, all of them by default."""
        return operator("reduce_all")(self, axes, keepdims)

    def any(self, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
        """Return whether one holds over axes, all of them by default."""
        return operator("reduce_any")(self, axes, keepdims)

    def argmax(self, axis: int = -1) -> Any:
        """Return where along an axis the first maximum is."""
        return operator("argmax")(self, axis)

    def argmin(self, axis: int = -1) -> Any:
        """Return where along an axis the first minimum is."""
        return operator("argmin")(self, axis)

    def cumsum(self, axis: int = -1) -> Any:
        """Return the sums of what comes first along an axis."""
        return operator("cumsum")(self, axis)

    def exp(self) -> Any:
        """Return e to the power of self."""
        return operator("exp")(self)

    def log(self) -> Any:
        """Return the natural logarithm."""
        return operator("log")(self)

    def sqrt(self) -> Any:
        """Return the square root."""
        return operator("sqrt")(self)

    def sin(self) -> Any:
        """Return the sine."""
        return operator("sin")(self)

    def cos(self) -> Any:
        """Return the cosine."""
        return operator("cos")(self)

    def tanh(self) -> Any:
        """Return the hyperbolic tangent."""
        return operator("tanh")(self)

    def __len__(self) -> int:
        """Return the length of the first axis."""
        if not self.shape:
            raise DavinciError("a scalar tensor has no length; only tensors with an axis have one")
        return self.shape[0]

    def __add__(self, other: Any) -> Any:
        """Return self + other."""
        return operator("add")(self, other)

    def __radd__(self, other: Any) -> Any:
        """Return other + self."""
        return operator("add")(other, self)

    def __sub__(self, other: Any) -> Any:
        """Return self - other."""
        return operator("sub")(self, other)

    def __rsub__(self, other: Any) -> Any:
        """Return other - self."""
        return operator("sub")(other, self)

    def __mul__(self, other: Any) -> Any:
        """Return self * other."""
        return operator("mul")(self, other)

    def __rmul__(self, other: Any) -> Any:
        """Return other * self."""
        return operator("mul")(other, self)

    def __truediv__(self, other: Any) -> Any:
        """Return self / other."""
        return operator("div")(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        """Return other / self."""
        return operator("div")(other, self)

    def __matmul__(self, other: Any) -> Any:
        """Return self @ other; a vector is a row on the left and a column on the right."""
        return _matrix_product(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        """Return other @ self."""
        return _matrix_product(other, self)

    def __neg__(self) -> Any:
        """Return -self."""
        return operator("neg")(self)

    def __pos__(self) -> Any:
        """Return self."""
        return self

    def __abs__(self) -> Any:
        """Return |self|."""
        return operator("abs")(self)

    def __floor__(self) -> Any:
        """Return self, rounded down."""
        return operator("floor")(self)

    def __ceil__(self) -> Any:
        """Return self, rounded up."""
        return operator("ceil")(self)

    def __round__(self) -> Any:
        """Return self, rounded to the nearest whole number, of two the even one."""
        return operator("round")(self)

    def __pow__(self, exponent: Any) -> Any:
        """Return self to a power; small whole powers are products."""
        is_number = isinstance(exponent, (int, float)) and not isinstance(exponent, bool)
        if not is_number or self.dtype.name == "bool":
            return operator("pow")(self, exponent)
        if exponent == 0.5:
            return operator("sqrt")(self)
        if exponent != int(exponent) or exponent == 0 or abs(exponent) > LARGEST_PRODUCT:
            return operator("pow")(self, exponent)
        if exponent < 0:
            return operator("reciprocal")(self**-exponent)
        product = _product(self, int(exponent))
        return product * 1.0 if isinstance(exponent, float) and not self.dtype.is_float else product

    def __rpow__(self, base: Any) -> Any:
        """Return base to the power of self."""
        return operator("pow")(base, self)

    def __floordiv__(self, other: Any) -> Any:
        """Return self / other, rounded down."""
        return operator("floor_div")(self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        """Return other / self, rounded down."""
        return operator("floor_div")(other, self)

    def __mod__(self, other: Any) -> Any:
        """Return what is left of self after division by other; it has the sign of other."""
        return operator("mod")(self, other)

    def __rmod__(self, other: Any) -> Any:
        """Return what is left of other after division by self."""
        return operator("mod")(other, self)

    def __divmod__(self, other: Any) -> Any:
        """Return quotient and remainder."""
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        """Return quotient and remainder."""
        return other // self, other % self

    def __and__(self, other: Any) -> Any:
        """Return where both hold; of integers, bit by bit."""
        return _bitwise("and", self, other)

    def __rand__(self, other: Any) -> Any:
        """Return where both hold; of integers, bit by bit."""
        return _bitwise("and", other, self)

    def __or__(self, other: Any) -> Any:
        """Return where one of them holds; of integers, bit by bit."""
        return _bitwise("or", self, other)

    def __ror__(self, other: Any) -> Any:
        """Return where one of them holds; of integers, bit by bit."""
        return _bitwise("or", other, self)

    def __xor__(self, other: Any) -> Any:
        """Return where exactly one of them holds; of integers, bit by bit."""
        return _bitwise("xor", self, other)

    def __rxor__(self, other: Any) -> Any:
        """Return where exactly one of them holds; of integers, bit by bit."""
        return _bitwise("xor", other, self)

    def __invert__(self) -> Any:
        """Return where it does not hold; of integers, bit by bit."""
        return operator("logical_not" if _is_truth(self) else "bitwise_not")(self)

    def __lshift__(self, other: Any) -> Any:
        """Return self with its bits moved up."""
        return operator("left_shift")(self, other)

    def __rlshift__(self, other: Any) -> Any:
        """Return other with its bits moved up."""
        return operator("left_shift")(other, self)

    def __rshift__(self, other: Any) -> Any:
        """Return self with its bits moved down."""
        return operator("right_shift")(self, other)

    def __rrshift__(self, other: Any) -> Any:
        """Return other with its bits moved down."""
        return operator("right_shift")(other, self)

    def __eq__(self, other: object) -> Any:
        """Return self == other, element by element."""
        return operator("equal")(self, other)

    def __ne__(self, other: object) -> Any:
        """Return self != other, element by element."""
        return operator("not_equal")(self, other)

    def __gt__(self, other: Any) -> Any:
        """Return self > other, element by element."""
        return operator("greater")(self, other)

    def __ge__(self, other: Any) -> Any:
        """Return self >= other, element by element."""
        return operator("greater_equal")(self, other)

    def __lt__(self, other: Any) -> Any:
        """Return self < other, element by element."""
        return operator("less")(self, other)

    def __le__(self, other: Any) -> Any:
        """Return self <= other, element by element."""
        return operator("less_equal")(self, other)

    __hash__ = object.__hash__
    __array_priority__ = 1000  # NumPy arrays leave `array + tensor` to the tensor


def _product(x: Any, count: int) -> Any:
    """Return x multiplied by itself, with as few products as halving gives."""
    if count == 1:
        return x
    half = _product(x, count // 2)
    return half * half * x if count % 2 else half * half


def _bitwise(name: str, a: Any, b: Any) -> Any:
    """Return a & b, a | b or a ^ b: of truths, or of integers."""
    kind = "logical" if _is_truth(a) and _is_truth(b) else "bitwise"
    return operator(f"{kind}_{name}")(a, b)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"


def _matrix_product(a: Any, b: Any) -> Any:
    """Return a @ b of matrices, batches of them, and vectors."""
    shapes = [each.shape for each in (a, b)]
    if () in shapes:
        raise DavinciError(f"{shapes[0]} @ {shapes[1]}: a scalar has no axis to sum over; multiply with *")
    rows = operator("reshape")(a, (1, *shapes[0])) if len(shapes[0]) == 1 else a
    columns = operator("reshape")(b, (*shapes[1], 1)) if len(shapes[1]) == 1 else b
    found = operator("matmul")(rows, columns)
    row = () if len(shapes[0]) == 1 else found.shape[-2:-1]
    column = () if len(shapes[1]) == 1 else found.shape[-1:]
    wanted = (*found.shape[:-2], *row, *column)
    return found if wanted == found.shape else operator("reshape")(found, wanted)
