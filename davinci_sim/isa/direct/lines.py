"""LLVM code as it is written: instructions, places to jump to, variables."""

from typing import Any

from davinci_sim.isa.direct.values import Untranslated, Value, part_types


class Lines:
    """The lines of one function: `body`, `allocas` before it, `declared` before the function."""

    def __init__(self) -> None:
        self.body: list[str] = []
        self.allocas: list[str] = []
        self.declared: dict[str, str] = {}
        self.names: dict[str, tuple[Any, tuple[str, ...]]] = {}
        self.count, self.is_open = 0, True

    def op(self, text: str) -> str:
        """Write an instruction that gives a value."""
        self.count += 1
        self.body.append(f"%v{self.count} = {text}")
        return f"%v{self.count}"

    def label(self) -> str:
        """Return a new name of a place to jump to."""
        self.count += 1
        return f"l{self.count}"

    def at(self, label: str) -> None:
        """Continue at a place to jump to."""
        if self.is_open:
            self.body.append(f"br label %{label}")
        self.body.append(f"{label}:")
        self.is_open = True

    def jump(self, label: str) -> None:
        """Go to a place; nothing follows until there is another place."""
        if self.is_open:
            self.body.append(f"br label %{label}")
        self.is_open = False

    def branch(self, test: str, yes: str, no: str) -> None:
        """Go to one of two places."""
        self.body.append(f"br i1 {test}, label %{yes}, label %{no}")
        self.is_open = False

    def store(self, name: str, value: Value) -> None:
        """Set a variable; it has one type from its first value on."""
        if name not in self.names:
            parts = part_types(value.kind)
            self.count += 1
            slots = tuple(f"%s{self.count}_{index}" for index in range(len(parts)))
            for slot, llvm in zip(slots, parts, strict=True):
                self.allocas += [f"  {slot} = alloca {llvm}"]
            self.names[name] = (value.kind, slots)
        kind, slots = self.names[name]
        if kind != value.kind:
            raise Untranslated(f"{name} is of two types")
        for slot, llvm, part in zip(slots, part_types(kind), value.parts, strict=True):
            self.body.append(f"store {llvm} {part}, ptr {slot}")

    def write(self, start: str, parts: tuple[str, ...]) -> None:
        """Store integers one behind the other."""
        for index, part in enumerate(parts):
            self.body.append(
                f"store i64 {part}, ptr {self.op(f'getelementptr i64, ptr {start}, i64 {index}')}"
            )

    def load(self, name: str) -> Value:
        """Return what a variable holds."""
        kind, slots = self.names[name]
        parts = zip(part_types(kind), slots, strict=True)
        return Value(kind, tuple(self.op(f"load {llvm}, ptr {slot}") for llvm, slot in parts))
