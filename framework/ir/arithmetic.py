"""Operators and methods that tensors and symbolic values share; each is one operator of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from davinci_sim.errors import DavinciError
from framework.dtypes import DType
from framework.ir.registry import operator

if TYPE_CHECKING:
    from framework.ir.types import TensorType


class Arithmetic:
    """Mix-in: `+ - * / @`, comparisons and the usual methods."""

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
        """Return self @ other."""
        return operator("matmul")(self, other)

    def __neg__(self) -> Any:
        """Return -self."""
        return operator("neg")(self)

    def __pos__(self) -> Any:
        """Return self."""
        return self

    def __abs__(self) -> Any:
        """Return |self|."""
        return operator("abs")(self)

    def __pow__(self, exponent: int) -> Any:
        """Return self multiplied by itself; the exponent is a positive int."""
        if not isinstance(exponent, int) or exponent < 1:
            raise DavinciError(
                f"{self.type} ** {exponent!r}: the exponent must be a positive int; use exp and log"
            )
        half = self if exponent == 1 else self ** (exponent // 2)
        if exponent == 1:
            return half
        return half * half * self if exponent % 2 else half * half

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
