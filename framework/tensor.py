"""Tensors that hold NumPy data, and the Parameters of a Cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.errors import DavinciError, ShapeMismatch
from framework.dtypes import DType, dtype, float32, int32
from framework.ir.arithmetic import Arithmetic
from framework.ir.registry import operator
from framework.ir.subscript import is_symbolic, taken_apart
from framework.ir.types import TensorType

Array = np.ndarray[Any, Any]


class Tensor(Arithmetic):
    """An array with a dtype of its own; broadcasting and indexing are NumPy's.

    Python numbers and lists become float32 or int32, arrays keep their dtype.

    >>> Tensor([[1.0, 2.0]]) + 1
    Tensor([[2., 3.]], float32)
    """

    def __init__(self, data: Any, dtype: DType | str | None = None) -> None:
        """Hold a copy of the data, converted when a dtype is given."""
        self._array = _as_array(data, dtype)

    @staticmethod
    def wrap(array: Array) -> Tensor:
        """Return a Tensor that shares the array."""
        tensor = Tensor.__new__(Tensor)
        tensor._array = array
        return tensor

    @property
    def type(self) -> TensorType:
        """Return shape and dtype."""
        return TensorType.of(self._array)

    def numpy(self) -> Array:
        """Return the data as a NumPy array, shared."""
        return self._array

    def item(self) -> Any:
        """Return the only element as a Python number."""
        if self.size != 1:
            raise DavinciError(f"a tensor {self.type} holds {self.size} elements; item() needs exactly one")
        return self._array.item()

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        """Return the data for NumPy."""
        return np.array(self._array, dtype=dtype) if copy else np.asarray(self._array, dtype=dtype)

    def __getitem__(self, index: Any) -> Any:
        """Return a part, chosen as NumPy chooses it."""
        if is_symbolic(index):
            spec, inputs = taken_apart(index)
            return operator("index")(self, *inputs, spec=spec)
        return Tensor.wrap(np.asarray(self._array[_plain_index(index)]))

    def __setitem__(self, index: Any, value: Any) -> None:
        """Overwrite a part, chosen as NumPy chooses it."""
        self._array[_plain_index(index)] = value.numpy() if isinstance(value, Tensor) else value

    def __iter__(self) -> Iterator[Tensor]:
        """Go over the first axis."""
        return (Tensor.wrap(np.asarray(self._array[position])) for position in range(len(self)))

    def __float__(self) -> float:
        """Return the only element as a float."""
        return float(self.item())

    def __int__(self) -> int:
        """Return the only element as an int."""
        return int(self.item())

    def __bool__(self) -> bool:
        """Return the truth of the only element."""
        return bool(self.item())

    def __repr__(self) -> str:
        """Return data and dtype."""
        return f"Tensor({np.array2string(self._array, separator=', ', prefix='Tensor')}, {self.dtype})"


class Parameter(Tensor):
    """A Tensor that training changes; its name is unique in a tree of Cells."""

    def __init__(self, data: Any, name: str = "", requires_grad: bool = True) -> None:
        """Hold a copy of the data under a name; of one number in a shape (`shapes_only`) none is made."""
        if isinstance(data, np.ndarray) and data.ndim and not any(data.strides):
            self._array = data
        else:
            super().__init__(data)
        self.name = name
        self.requires_grad = requires_grad

    def set_data(self, data: Any) -> None:
        """Replace the data by data of the same type."""
        array = _as_array(data, None)
        if TensorType.of(array) != self.type:
            raise ShapeMismatch(
                f"parameter {self.name!r} is {self.type}, it cannot hold {TensorType.of(array)}"
            )
        self._array = array

    def __repr__(self) -> str:
        """Return name and type."""
        return f"Parameter({self.name}: {self.type})"


def _as_array(data: Any, wanted: DType | str | None) -> Array:
    array: Array
    if isinstance(data, Tensor):
        array = data.numpy().copy()
    else:
        array = _from_data(data)
        if wanted is None and not isinstance(data, (np.ndarray, np.generic)) and array.dtype.kind in "fi":
            array = array.astype((float32 if array.dtype.kind == "f" else int32).numpy)
    return array if wanted is None else array.astype(dtype(wanted).numpy)


def _from_data(data: Any) -> Array:
    try:
        return np.array(data)
    except ValueError:
        raise DavinciError(
            f"a tensor is made of a {type(data).__name__} whose items have different lengths\n"
            "  rule: a tensor has one length per axis\n  next: fill them up to one length"
        ) from None


def _plain_index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_plain_index(each) for each in index)
    return index.numpy() if isinstance(index, Tensor) else index
