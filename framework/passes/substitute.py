"""What passes share: rewriting the inputs of bindings as a pass walks down a Func."""

from __future__ import annotations

from framework.ir.nodes import Atom, Binding, Var


class Substitution:
    """Which atom stands for a Var that a pass has removed; the keys are names, unique in a Func."""

    def __init__(self) -> None:
        """Start with nothing replaced."""
        self._by: dict[str, Atom] = {}

    def replace(self, var: Var, atom: Atom) -> None:
        """Let an atom stand for a Var from here on."""
        self._by[var.name] = self.atom(atom)

    def bind(self, var: Var, atom: Atom) -> None:
        """Let an atom of another Func stand for a Var; names of the two Funcs may coincide."""
        self._by[var.name] = atom

    def atom(self, atom: Atom) -> Atom:
        """Return what stands for an atom."""
        return self._by.get(atom.name, atom) if isinstance(atom, Var) else atom

    def atoms(self, atoms: tuple[Atom, ...]) -> tuple[Atom, ...]:
        """Return what stands for several atoms: the same tuple when all stand for themselves."""
        by = self._by
        for atom in atoms:
            if isinstance(atom, Var) and atom.name in by:
                return tuple(map(self.atom, atoms))
        return atoms

    def binding(self, binding: Binding) -> Binding:
        """Return the binding over the atoms that stand for its inputs: itself when nothing changes."""
        inputs = self.atoms(binding.inputs) if self._by else binding.inputs
        if inputs is binding.inputs:
            return binding
        return Binding(binding.outputs, binding.op, inputs, binding.attrs, binding.source)
