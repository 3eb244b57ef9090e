"""A user's own chip: a small TOML or Python file that inherits from a chip and changes figures.

    base = "ascend910a"
    description = "a 910A with half of the Unified Buffer"

    [figures]
    ub_bytes = { value = 131072, unit = "B", provenance = "assumed", source = "what if UB were halved" }

A Python file is code and is run; it defines one platform:

    half_ub = assumed(131072, "B", "what if UB were halved")
    my_chip = platform("ascend910a").with_figures("my_chip", ub_bytes=half_ub)
"""

from __future__ import annotations

import re
import runpy
import tomllib
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from davinci_sim.errors import nearest
from davinci_sim.platforms.check import (
    PEAKS,
    BadPlatform,
    check,
    problem_of_key,
    problems,
    problems_of_figures,
)
from davinci_sim.platforms.figure import PROVENANCES, Figure, assumed
from davinci_sim.platforms.platform import Platform

KEYS = ("base", "name", "description", "figures")
PARTS = ("value", "unit", "provenance", "source")
EXAMPLE = '{ value = 131072, unit = "B", provenance = "assumed", source = "what if UB were halved" }'


def load(name: str, within: tuple[Path, ...] = ()) -> Platform:
    """Return the platform of a file, checked; `within` are the files that lead to it by their bases.

    Raises:
        BadPlatform: the file is missing, is no TOML or Python, or has a mistake in it.
    """
    path = Path(name)
    if not path.is_file():
        there = sorted(file.name for file in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        close = nearest(path.name, there)
        step = (
            f"did you mean {path.parent / close[0]}?" if close else "give the path of a TOML or Python file"
        )
        raise BadPlatform(
            f"there is no file {name}\n  rule: a platform is a chip's name or a file\n  next: {step}"
        )
    if path.resolve() in within:
        chain = " -> ".join(file.name for file in (*within, path))
        raise BadPlatform(
            f"{name}: base leads back to this file: {chain}\n  rule: a chip inherits from another one\n"
            f'  next: let one of them have a chip of the kit as its base, as in base = "ascend910a"'
        )
    if path.suffix == ".py":
        chip = _from_python(path)
        _check_name(str(chip.name), name)
        check(chip, name)
        return chip
    if path.suffix == ".toml":
        return _Toml(path, name).platform((*within, path.resolve()))
    raise BadPlatform(
        f"{name}: it ends in {path.suffix or 'nothing'}\n  rule: a platform's file is TOML or Python\n"
        f"  next: call it {path.stem}.toml or {path.stem}.py"
    )


def _from_python(path: Path) -> Platform:
    """Run a Python file and return the only platform that it makes; chips of the kit do not count."""
    from davinci_sim.platforms import platform, platform_names

    try:
        names = runpy.run_path(str(path))
    except BadPlatform:
        raise
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        line = getattr(error, "lineno", None) or last.lineno
        file = getattr(error, "filename", None) or last.filename
        raise BadPlatform(
            f"{path} cannot be run: {type(error).__name__}: {error}\n  rule: a Python file of a chip "
            f"defines one Platform\n  next: see {Path(file).name}:{line}"
        ) from None
    shipped = [platform(name) for name in platform_names()]
    made = {
        key: value for key, value in names.items() if isinstance(value, Platform) and value not in shipped
    }
    bases = [chip.base for chip in made.values()]
    found = {id(chip): key for key, chip in made.items() if chip not in bases}
    if len(found) != 1:
        listed = ", ".join(found.values()) or "none"
        step = "delete all but one" if found else 'write my_chip = platform("ascend910a").with_figures(...)'
        rule = "it defines exactly one, beside chips of the kit and those that it inherits from"
        raise BadPlatform(f"{path} defines {len(found)} platforms: {listed}\n  rule: {rule}\n  next: {step}")
    return made[next(iter(found.values()))]


def _check_name(name: str, where: str) -> None:
    """Refuse a name that a chip of the kit has: results would be taken for that chip's."""
    from davinci_sim.platforms import platform_names

    if name in platform_names() or not name.strip():
        raise BadPlatform(
            f'{where}: name = "{name}"\n  rule: a user\'s chip has a name of its own, so that its results '
            "are not taken for those of a chip of the kit\n"
            f'  next: write name = "my_{name.strip() or "chip"}"'
        )


class _Toml:
    """One TOML file, its text at hand so that a mistake can be told with its line."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        try:
            self.text = path.read_text(encoding="utf-8")
            self.content: dict[str, Any] = tomllib.loads(self.text)
        except UnicodeDecodeError as error:
            self._refuse(
                "", f"byte {error.start} is no UTF-8 text", "a TOML file is UTF-8", "save it as UTF-8"
            )
        except tomllib.TOMLDecodeError as error:
            place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
            where = f":{place[1]}:{place[2]}" if place else ""
            raise BadPlatform(
                f"{name}{where}: {error}\n  rule: a platform's file is TOML\n"
                f"  next: mend the line; a figure is written as ub_bytes = {EXAMPLE}"
            ) from None

    def platform(self, within: tuple[Path, ...]) -> Platform:
        """Return the platform of the file."""
        for key in self.content:
            if key not in KEYS:
                self._unknown(key, key, KEYS, "a platform's file has " + ", ".join(KEYS))
        base = self._base(within)
        listed = self.content.get("figures", {})
        if not isinstance(listed, dict):
            self._refuse(
                "figures",
                f"figures = {listed!r}",
                "figures is a table",
                f"write [figures], ub_bytes = {EXAMPLE}",
            )
        figures = {key: self._figure(base, key, value) for key, value in _flat(listed)}
        name = self._text("name", self.path.stem)
        _check_name(name, self._where("name"))
        description = self._text("description", f"{base.name} with {_count(len(figures), 'figure')} changed")
        chip = Platform(name, description, {**base.figures, **figures}, base.instructions, base)
        for problem in problems_of_figures(chip):
            raise problem.error(self._where(problem.key))
        chip = replace(_with_derived_peaks(chip, figures), base=base)
        for problem in problems(chip):
            raise problem.error(self._where(problem.key))
        return chip

    def _base(self, within: tuple[Path, ...]) -> Platform:
        """Return the chip that this one inherits from: one of the kit, or a file beside this one."""
        from davinci_sim.platforms import is_file_name, platform, platform_names

        base = self._text("base", "")
        if not base:
            step = f'write base = "ascend910a"; the kit has {", ".join(platform_names())}'
            self._refuse("base", "base is missing", "a chip inherits from one whose figures it changes", step)
        if is_file_name(base):
            file = self.path.parent / base
            if not file.is_file():
                self._refuse(
                    "base",
                    f'base = "{base}"',
                    f"a base in a file lies beside this one: no file {file}",
                    "correct it",
                )
            return load(str(file), within)
        if base not in platform_names():
            self._unknown("base", base, platform_names(), "the base is a chip of the kit, or a file")
        return platform(base)

    def _figure(self, base: Platform, key: str, value: Any) -> Figure:
        """Return one figure of the file; every part of it is there and has its type."""
        wrong = problem_of_key(key, {*base.figures, *(other for other, _ in _flat(self.content["figures"]))})
        if wrong:
            raise wrong.error(self._where(key))
        if not isinstance(value, dict):
            rule = "a figure has value, unit, provenance and source: a bare number cannot be checked later"
            self._refuse(key, f"{key} = {value!r}", rule, f"write {key} = {EXAMPLE}")
        for part in value:
            if part not in PARTS:
                self._unknown(key, part, PARTS, f"{key} has " + ", ".join(PARTS))
        for part in PARTS:
            if part not in value:
                self._missing(base, key, part)
        if isinstance(value["value"], bool) or not isinstance(value["value"], int | float):
            found = f"{key}: value = {value['value']!r}"
            self._refuse(key, found, "a value is a number", "write it without quotation marks")
        for part in ("unit", "provenance", "source"):
            if not isinstance(value[part], str) or (part == "source" and not value[part].strip()):
                self._refuse(
                    key, f"{key}: {part} = {value[part]!r}", f"{part} is a text that says it", "write one"
                )
        if value["provenance"] not in PROVENANCES:
            rule = f"it is one of {', '.join(PROVENANCES)}"
            self._refuse(
                key, f'{key}: provenance = "{value["provenance"]}"', rule, 'write "assumed" for a what-if'
            )
        return Figure(value["value"], value["unit"], value["provenance"], value["source"])

    def _missing(self, base: Platform, key: str, part: str) -> NoReturn:
        before = base.figures.get(key)
        hints = {
            "value": "write value = <number>",
            "unit": f'write unit = "{before.unit if before else ""}", as in {base.name}',
            "provenance": 'write provenance = "assumed" for a what-if',
            "source": 'write source = "<where the number comes from, or why this one>"',
        }
        self._refuse(
            key, f"{key} has no {part}", "a figure has value, unit, provenance and source", hints[part]
        )

    def _text(self, key: str, otherwise: str) -> str:
        value = self.content.get(key, otherwise)
        if not isinstance(value, str):
            self._refuse(key, f"{key} = {value!r}", f"{key} is a text", f'write {key} = "..."')
        return value

    def _unknown(self, key: str, word: str, known: tuple[str, ...], rule: str) -> NoReturn:
        close = nearest(word, known)
        step = f"did you mean {' or '.join(close)}?" if close else f"take one of {', '.join(known)}"
        self._refuse(key, f"unknown {'base' if key == 'base' else 'key'} {word!r}", rule, step)

    def _refuse(self, key: str, found: str, rule: str, step: str) -> NoReturn:
        raise BadPlatform(f"{self._where(key)}: {found}\n  rule: {rule}\n  next: {step}")

    def _where(self, key: str) -> str:
        """Return the file with the line of a key, found by its last part, if it stands in the file."""
        last = re.escape(key.rpartition(".")[2])
        pattern = re.compile(rf"^\s*(\[figures\.)?\"?([\w.\"]*\.)?\"?{last}\"?\s*(=|\]|\.)") if key else None
        lines = self.text.splitlines() if pattern and hasattr(self, "text") else []
        number = next(
            (count for count, line in enumerate(lines, start=1) if pattern and pattern.match(line)), 0
        )
        return f"{self.name}:{number}" if number else self.name


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield figures by dotted keys: `vector_cycles.vadd.fp16` is a table in a table to TOML."""
    for key, value in table.items():
        is_folder = (
            isinstance(value, dict) and value and all(isinstance(part, dict) for part in value.values())
        )
        if is_folder:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _with_derived_peaks(chip: Platform, given: Mapping[str, Figure]) -> Platform:
    """Return the chip with the peaks that its cores, cube and clock give, unless the file states them."""
    if not any(key.startswith(("ai_cores", "clock_hz", "cube_")) for key in given):
        return chip
    source = "follows from the cores, the cube and the clock of this file"
    derived = {
        key: assumed(chip.peak_flops(dtype), chip.figures[key].unit, source)
        for key, dtype in PEAKS.items()
        if key not in given and dtype in chip.cube_tiles
    }
    return chip.with_figures(chip.name, **derived)
