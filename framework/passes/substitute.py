"""What passes share: rewriting the inputs of bindings as a pass walks down a Func."""

from __future__ import annotations

from dataclasses import replace

from framework.ir.nodes import Atom, Binding, Var


class Substitution:
    """Which atom stands for a Var that a pass has removed."""

    def __init__(self) -> None:
        """Start with nothing replaced."""
        self._by: dict[Var, Atom] = {}

    def replace(self, var: Var, atom: Atom) -> None:
        """Let an atom stand for a Var from here on."""
        self._by[var] = self.atom(atom)

    def bind(self, var: Var, atom: Atom) -> None:
        """Let an atom of another Func stand for a Var; names of the two Funcs may coincide."""
        self._by[var] = atom

    def atom(self, atom: Atom) -> Atom:
        """Return what stands for an atom."""
        return self._by.get(atom, atom) if isinstance(atom, Var) else atom

    def atoms(self, atoms: tuple[Atom, ...]) -> tuple[Atom, ...]:
        """Return what stands for several atoms."""
        return tuple(self.atom(each) for each in atoms)

    def binding(self, binding: Binding) -> Binding:
        """Return the binding over the atoms that stand for its inputs."""
        return replace(binding, inputs=self.atoms(binding.inputs))
