"""Turn one declaration into everything that an instruction needs.

From a class like

    @instruction(Pipe.M, dtypes=("fp16",))
    class mmad:
        c = Out(L0C); a = In(L0A); b = In(L0B)
        m, k, n = Size(4095), Size(4095), Size(4095)
        def cycles(i, costs): ...
        def accesses(i): ...
        def execute(i, memory): ...

the decorator derives the layout of the record, the emitter that kernels call (it also checks the operands),
the decoder, and the entry from which the executor, the hazard ranges, the printed form and the reference
page follow. The class itself is replaced by its emitter; the rest hangs on `emitter.instruction`.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from davinci_sim.errors import InternalError
from davinci_sim.isa import checks, generated, state
from davinci_sim.isa.fields import DTYPE_NAMES, Field, ImmediateField, MaskField, Operand
from davinci_sim.isa.jit import apart, made_apart
from davinci_sim.isa.pipes import Pipe

WORDS = 8
PAYLOAD_BYTES = 8 * (WORDS - 1)
NO_VARIANT = -1
"""Instructions of a family share their functions; `variant` tells the function which one it is."""
Routes = dict[tuple[int, int], Pipe]


@dataclass(frozen=True)
class Instruction:
    """One declared instruction and what was derived from it.

    `record` names the tuple of decoded values (see `isa.generated`). `refusals` are rules between operands: a
    condition in the emitter's words, and what a user reads then.
    """

    name: str
    opcode: int
    pipe: Pipe | None
    pipe_field: str
    routes: Routes
    dtypes: tuple[int, ...]
    default_dtype: int | None
    fields: tuple[Field, ...]
    offsets: tuple[int, ...]
    declaration: type
    record: str
    decode: Callable[..., Any]
    cycles: Callable[..., Any]
    accesses: Callable[..., Any]
    execute: Callable[..., Any]
    variant: int
    transfer: Callable[..., Any] | None
    emitter: Any
    refusals: tuple[tuple[str, str], ...] = ()

    @property
    def doc(self) -> str:
        """What the instruction does, with its `Model:` and `Source:`."""
        return _documentation(self.declaration)

    @property
    def operands(self) -> tuple[Operand, ...]:
        """The memory operands, in order."""
        return tuple(field for field in self.fields if isinstance(field, Operand))

    @property
    def parameters(self) -> tuple[tuple[str, int | float | None, bool], ...]:
        """Name, default and whether it is a float, of each argument after the core state."""
        plain = tuple((f.name, f.default, isinstance(f, ImmediateField)) for f in self.fields)
        return _required_first((*plain, ("dtype", self.default_dtype, False)))

    def values(self, words: Any) -> dict[str, int | float]:
        """Decode one record (`words[8]` int64) into field name -> value."""
        fields = self.decode(np.ascontiguousarray(words).reshape(1, WORDS), 0)
        return dict(zip(fields._fields, fields, strict=True))


INSTRUCTIONS: dict[str, Instruction] = {}
"""Every declared instruction by name; the opcode is the position plus one."""


def instruction(
    pipe: Pipe | Routes | str, dtypes: tuple[str, ...], default_dtype: str | None = None
) -> Callable[[type], Any]:
    """Declare an instruction of a pipe, of the pipe that a route between spaces gives, or of that in a field.

    `dtypes` are the element types that it takes; a single one, or `default_dtype`, may be left out in calls.
    A route is (space of the input, space of the output); with one operand both are its own.
    `transfer` (what goes through the memory that all cores share) is declared by those that use it, and so is
    `refuse`: {condition on operands, dtype and the state table: the rule that it breaks}.
    """
    fallback = dtypes[0] if len(dtypes) == 1 else default_dtype

    def declare(cls: type) -> Any:
        fields = tuple(_fields_of(cls))
        offsets = tuple(_offsets(fields, cls.__name__))
        record = _record_title(cls, fields)
        decode = _decoder(cls, record, fields, offsets)
        codes = tuple(DTYPE_NAMES.index(dtype) for dtype in dtypes)
        declared = Instruction(
            name=cls.__name__,
            opcode=len(INSTRUCTIONS) + 1,
            pipe=pipe if isinstance(pipe, Pipe) else None,
            pipe_field=pipe if isinstance(pipe, str) else "",
            routes=pipe if isinstance(pipe, dict) else {},
            dtypes=codes,
            default_dtype=None if fallback is None else DTYPE_NAMES.index(fallback),
            fields=fields,
            offsets=offsets,
            declaration=cls,
            record=record,
            decode=decode,
            cycles=_part(cls, "cycles", allocates=False),
            accesses=_part(cls, "accesses"),
            execute=_part(cls, "execute"),
            transfer=_part(cls, "transfer", allocates=False) if hasattr(cls, "transfer") else None,
            variant=getattr(cls, "variant", NO_VARIANT),
            emitter=None,
            refusals=tuple(getattr(cls, "refuse", {}).items()),
        )
        kinds = tuple("float" if is_float else "int" for _, _, is_float in declared.parameters)
        emitter = made_apart(
            cls.__module__, cls.__name__, lambda: _made(_emitter_source(declared), cls, {}), kinds
        )
        declared = replace(declared, emitter=emitter)
        emitter.instruction = declared
        INSTRUCTIONS[declared.name] = declared
        return emitter

    return declare


def _fields_of(cls: type) -> Iterator[Field]:
    """Yield the declared fields of a class and its bases, bases first."""
    seen: dict[str, Field] = {}
    for base in reversed(cls.__mro__):
        for key, value in vars(base).items():
            if isinstance(value, Field):
                seen[key] = value if value.name == key else replace(value, name=key)
    yield from seen.values()


def _documentation(cls: type) -> str:
    """Return the docstring; what it lacks of `Model:` and `Source:` comes from its family or its module."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    others = [*(base.__doc__ for base in cls.__mro__[1:-2]), sys.modules[cls.__module__].__doc__]
    for label in ("Model:", "Source:"):
        if label not in doc:
            found = next(filter(None, (_paragraph(other or "", label) for other in others)), "")
            doc += f"\n\n{found}" if found else ""
    return doc


def _paragraph(text: str, label: str) -> str:
    """Return a docstring's lines from the one that begins with `label` to a blank line or another label."""
    lines: list[str] = []
    for line in inspect.cleandoc(text).splitlines():
        if lines and (not line.strip() or line.startswith(("Model:", "Source:"))):
            break
        if lines or line.startswith(label):
            lines.append(line)
    return "\n".join(lines)


def _part(cls: type, part: str, allocates: bool = True) -> Callable[..., Any]:
    """Return a declared function compiled; one that makes no arrays need not count references."""
    function: Callable[..., Any] | None = getattr(cls, part, None)
    if function is None:
        raise InternalError(f"instruction {cls.__name__} declares no {part}()")
    return apart(function, allocates=allocates)


def _offsets(fields: tuple[Field, ...], name: str) -> Iterator[int]:
    """Place each field at the next payload byte that its width divides; wide ones come first."""
    position = 0
    for field in fields:
        width = min(field.width_bytes, 8)
        position = -(-position // width) * width
        yield position
        position += field.width_bytes
    if position > PAYLOAD_BYTES:
        raise InternalError(
            f"instruction {name} needs {position} payload bytes, a record has {PAYLOAD_BYTES}"
        )


def _record_title(cls: type, fields: tuple[Field, ...]) -> str:
    """Declare the named tuple of decoded values, one per set of operands; return its name."""
    names: list[str] = []
    for field in fields:
        names += [f"{field.name}_lo", f"{field.name}_hi"] if isinstance(field, MaskField) else [field.name]
    holder = next((base for base in cls.__mro__ if _own_fields(base)), cls)
    title = f"{holder.__name__}_fields"
    generated.FIELDS.setdefault(title, (*names, "dtype", "opcode"))
    return title


def _decoder(cls: type, record: str, fields: tuple[Field, ...], offsets: tuple[int, ...]) -> Any:
    """Return the function from words and a row to the named tuple; one per set of operands."""
    known = [declared.decode for declared in INSTRUCTIONS.values() if declared.record == record]
    if known:
        return known[0]

    def make() -> Any:
        return _made(_decoder_source(record, fields, offsets), cls, {record: getattr(generated, record)})

    return made_apart(cls.__module__, f"decode_{record}", make, ())


def _own_fields(cls: type) -> bool:
    return any(isinstance(value, Field) for value in vars(cls).values())


def _made(source: str, cls: type, names: dict[str, Any]) -> Any:
    """Return the function of generated source, as if it stood in the file of the class."""
    module = sys.modules[cls.__module__]
    code = compile(source, str(module.__file__), "exec")
    scope = {**vars(state), **vars(checks), "np": np, "__name__": cls.__module__, **names}
    exec(code, scope)
    function = scope[source.split("(", maxsplit=1)[0].removeprefix("def ").strip()]
    function.source = source
    return function


def _decoder_source(record: str, fields: tuple[Field, ...], offsets: tuple[int, ...]) -> str:
    values = []
    for field, offset in zip(fields, offsets, strict=True):
        word, shift = 1 + offset // 8, 8 * (offset % 8)
        if isinstance(field, MaskField):
            values += [f"words[r, {word}]", f"words[r, {word + 1}]"]
        elif isinstance(field, ImmediateField):
            values.append(f"np.int32((words[r, {word}] >> {shift}) & 0xFFFFFFFF).view(np.float32)")
        elif field.width_bytes == 8:
            values.append(f"words[r, {word}]")
        else:
            values.append(f"(words[r, {word}] >> {shift}) & {(1 << (8 * field.width_bytes)) - 1}")
    values += ["(words[r, 0] >> 16) & 255", "words[r, 0] & 255"]
    return f"def decode_{record}(words, r):\n    return {record}({', '.join(values)})\n"


def _emitter_source(declared: Instruction) -> str:
    """Write the function that kernels call: check the operands, then append one record."""
    arguments = [name if d is None else f"{name}={d!r}" for name, d, _ in declared.parameters]
    lines = [f"def {declared.name}(core, {', '.join(arguments)}):", "    state = core.state", "    wrong = 0"]
    lines += _check_lines(declared.fields)
    codes = sum(1 << code for code in declared.dtypes)
    lines += [f"    if not ({codes} >> dtype) & 1:", f"        wrong = {len(declared.fields) + 1}"]
    lines += _route_lines(declared)
    for position, (condition, _) in enumerate(declared.refusals, start=len(declared.fields) + 3):
        lines += [f"    if wrong == 0 and ({condition}):", f"        wrong = {position}"]
    lines += [
        "    if wrong != 0 and refuse(state, REJECTED, wrong, 0, 0):",
        f"        state[ERROR_NEEDED] = {declared.opcode}",
    ]
    values = [f"np.float32({name}).view(np.int32)" if real else name for name, _, real in declared.parameters]
    header = f"{declared.opcode} | (pipe << 8) | (dtype << 16) | (state[LOCATION] << 32)"
    words = [header, *(" | ".join(parts) for _, parts in sorted(_word_parts(declared).items()))]
    lines += [
        f"        put_values(state, ERROR_VALUES, ({', '.join(values)},))",
        "    r = state[COUNT]",
        "    state[COUNT] = r + 1",
        "    if r < core.words.shape[0]:",
        f"        put_row(core.words, r, ({', '.join(words)}))",
    ]
    return "\n".join(lines) + "\n"


def _check_lines(fields: tuple[Field, ...]) -> Iterator[str]:
    """Yield the tests that fields keep their rules; `wrong` is the place of the last one that does not."""
    numbered = list(enumerate(fields, start=1))
    rows = {
        "misplaced": [
            (f.name, sum(1 << int(space) for space in f.spaces), f.align_bytes, place)
            for place, f in numbered
            if isinstance(f, Operand)
        ],
        "outside": [
            (f.name, f.low, f.high, place)
            for place, f in numbered
            if not isinstance(f, Operand | ImmediateField)
        ],
    }
    for check, checked in rows.items():
        columns = (", ".join(map(str, column)) for column in zip(*checked, strict=True))
        if checked:
            yield f"    wrong = {check}(wrong, {', '.join(f'({column},)' for column in columns)})"


def _route_lines(declared: Instruction) -> list[str]:
    """Return the lines that pick the pipe from the spaces of the operands (out first, then in, if any)."""
    if declared.pipe is not None:
        return [f"    pipe = {int(declared.pipe)}"]
    if declared.pipe_field:
        return [f"    pipe = {declared.pipe_field}"]
    out, source = declared.operands[0].name, declared.operands[:2][-1].name
    lines = [f"    route = ({source} >> SPACE_SHIFT) * 16 + ({out} >> SPACE_SHIFT)", "    pipe = 0"]
    for (start, end), pipe in declared.routes.items():
        lines += [f"    if route == {start * 16 + end}:", f"        pipe = {int(pipe)}"]
    return [*lines, "    if pipe == 0:", f"        wrong = {len(declared.fields) + 2}"]


def _word_parts(declared: Instruction) -> dict[int, list[str]]:
    words: dict[int, list[str]] = {}
    for field, offset in zip(declared.fields, declared.offsets, strict=True):
        word, shift = 1 + offset // 8, 8 * (offset % 8)
        if isinstance(field, MaskField):
            words[word], words[word + 1] = (
                [f"mask_lo(state, {field.name})"],
                [f"mask_hi(state, {field.name})"],
            )
            continue
        if isinstance(field, ImmediateField):
            value = f"(np.int64(np.float32({field.name}).view(np.int32)) & 0xFFFFFFFF)"
        elif field.width_bytes == 8:
            value = field.name
        else:
            value = f"np.int64({field.name} & {(1 << (8 * field.width_bytes)) - 1})"
        words.setdefault(word, []).append(f"({value} << {shift})" if shift else value)
    return {**{word: ["0"] for word in range(1, WORDS)}, **words}


def _required_first(
    parameters: tuple[tuple[str, int | float | None, bool], ...],
) -> tuple[tuple[str, int | float | None, bool], ...]:
    """Order arguments as Python wants them: those without a default first."""
    return tuple(sorted(parameters, key=lambda parameter: parameter[1] is not None))
