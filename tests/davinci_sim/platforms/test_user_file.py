"""A user's own chip: what a file may say, and the one message for everything that it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from davinci_sim.errors import DavinciError
from davinci_sim.platforms import platform

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "my_chip.toml"
START = 'base = "ascend910a"\n[figures]\n'
WHY = 'provenance = "assumed", source = "a what-if" }\n'


@pytest.fixture
def refusal(tmp_path, monkeypatch):
    """Return a function from the text of a chip's file to the message of the error."""
    monkeypatch.chdir(tmp_path)

    def of(text: str, name: str = "own.toml") -> str:
        Path(name).write_text(text)
        with pytest.raises(DavinciError) as error:
            platform(name)
        return str(error.value)

    return of


def figure(key: str, value: object, unit: str) -> str:
    """Return a file with one figure, which stands in line 3."""
    return f'{START}{key} = {{ value = {value}, unit = "{unit}", {WHY}'


def test_the_example_of_the_documentation_is_a_chip():
    chip = platform(str(EXAMPLE))
    before = platform("ascend910a")
    assert (chip.name, chip.ub_bytes, chip.vector_cycles("vexp", "fp16")) == ("my_chip", 131072, 2)
    assert chip.l1_bytes == before.l1_bytes
    assert chip.overrides == {key: before.figure(key) for key in chip.overrides}
    assert set(chip.overrides) == {"ub_bytes", "hbm_bytes_per_cycle", "vector_cycles.vexp.fp16"}
    assert chip.instructions == before.instructions


def test_a_file_without_a_name_is_called_after_itself(tmp_path):
    (tmp_path / "half.toml").write_text(figure("ub_bytes", 131072, "B"))
    chip = platform(str(tmp_path / "half.toml"))
    assert (chip.name, chip.description) == ("half", "ascend910a with 1 figure changed")


def test_a_file_may_inherit_from_a_file_beside_it(tmp_path):
    (tmp_path / "one.toml").write_text(figure("ub_bytes", 131072, "B"))
    (tmp_path / "two.toml").write_text(figure("l1_bytes", 524288, "B").replace("ascend910a", "one.toml"))
    chip = platform(str(tmp_path / "two.toml"))
    assert (chip.ub_bytes, chip.l1_bytes, chip.base.name) == (131072, 524288, "one")
    assert list(chip.overrides) == ["l1_bytes"]


def test_peaks_follow_the_cores_unless_the_file_says_them(tmp_path):
    (tmp_path / "half.toml").write_text(figure("ai_cores", 16, ""))
    chip = platform(str(tmp_path / "half.toml"))
    assert chip.peak_fp16_flops == chip.peak_flops("fp16") == 131.072e12
    assert chip.figure("peak_fp16_flops").provenance == "assumed"


def test_a_cube_may_be_as_large_as_l0_feeds_it(tmp_path):
    """A tile of 256 x 256 is loaded in 48 cycles a step of k; a cube of 32 x 32 multiplies it in 64."""
    (tmp_path / "large.toml").write_text(
        figure("cube_m", 32, "") + f'cube_n = {{ value = 32, unit = "", {WHY}'
    )
    chip = platform(str(tmp_path / "large.toml"))
    assert chip.peak_flops() == 4 * platform("ascend910a").peak_flops()


def test_a_python_file_defines_a_chip(tmp_path):
    (tmp_path / "own.py").write_text(
        "from davinci_sim.platforms import assumed, platform\n"
        "before = platform('ascend310')\n"
        "between = before.with_figures('between', l1_bytes=assumed(524288, 'B', 'a what-if'))\n"
        "own = between.with_figures('own', ub_bytes=assumed(131072, 'B', 'a what-if'))\n"
    )
    chip = platform(str(tmp_path / "own.py"))
    assert (chip.name, chip.ub_bytes, chip.l1_bytes) == ("own", 131072, 524288)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            figure("ub_byte", 1, "B"),
            "own.toml:3: ub_byte\n  rule: it is no figure of a chip: an unknown key would change nothing\n"
            "  next: did you mean ub_bytes or l0b_bytes or ub_bank_bytes?",
            id="unknown figure",
        ),
        pytest.param(
            figure("vector_cycles.vad.fp16", 1, "cycles"),
            "own.toml:3: vector_cycles.vad.fp16\n  rule: there is no instruction vad: an unknown key "
            "would change "
            "nothing\n  next: did you mean vector_cycles.vand.fp16?",
            id="unknown instruction",
        ),
        pytest.param(
            figure("vector_cycles.mmad.fp16", 1, "cycles"),
            "own.toml:3: vector_cycles.mmad.fp16\n  rule: nothing reads it: mmad does not count repeats\n"
            "  next: remove it",
            id="unused figure",
        ),
        pytest.param(
            figure("cube_n_bf16", 8, ""),
            "own.toml:3: cube_n_bf16\n  rule: nothing reads it: the cube takes bf16 where there is a figure "
            "cube_k_bf16\n  next: give cube_k_bf16, too, or remove it",
            id="unused shape of the cube",
        ),
        pytest.param(
            'base = "ascend910a"\nfigure = 1\n',
            "own.toml:2: unknown key 'figure'\n  rule: a platform's file has base, name, "
            "description, figures\n"
            "  next: did you mean figures?",
            id="unknown key",
        ),
        pytest.param(
            START + "ub_bytes = 131072\n",
            "own.toml:3: ub_bytes = 131072\n  rule: a figure has value, unit, provenance and source: "
            "a bare number "
            'cannot be checked later\n  next: write ub_bytes = { value = 131072, unit = "B", '
            'provenance = "assumed", '
            'source = "what if UB were halved" }',
            id="bare number",
        ),
        pytest.param(
            START + "ub_bytes = { value = 131072, " + WHY,
            "own.toml:3: ub_bytes has no unit\n  rule: a figure has value, unit, provenance and source\n"
            '  next: write unit = "B", as in ascend910a',
            id="missing unit",
        ),
        pytest.param(
            START + 'ub_bytes = { value = 131072, unit = "B", source = "a what-if" }\n',
            "own.toml:3: ub_bytes has no provenance\n  rule: a figure has value, unit, provenance "
            "and source\n"
            '  next: write provenance = "assumed" for a what-if',
            id="missing provenance",
        ),
        pytest.param(
            START + 'ub_bytes = { value = 131072, unit = "B", provenance = "assumed" }\n',
            "own.toml:3: ub_bytes has no source\n  rule: a figure has value, unit, provenance and source\n"
            '  next: write source = "<where the number comes from, or why this one>"',
            id="missing source",
        ),
        pytest.param(
            START
            + 'ub_bytes = { value = 131072, unit = "B", provenance = "guessed", source = "a what-if" }\n',
            'own.toml:3: ub_bytes: provenance = "guessed"\n  rule: it is one of published, measured, '
            'fitted, assumed\n'
            '  next: write "assumed" for a what-if',
            id="strange provenance",
        ),
        pytest.param(
            START + 'ub_bytes = { valeu = 131072, unit = "B", ' + WHY,
            "own.toml:3: unknown key 'valeu'\n  rule: ub_bytes has value, unit, provenance, source\n"
            "  next: did you mean value?",
            id="unknown part of a figure",
        ),
        pytest.param(
            figure("ub_bytes", 128, "KiB"),
            'own.toml:3: ub_bytes = 128 KiB\n  rule: its unit is B\n  next: write unit = "B" and the '
            'value in it',
            id="wrong unit",
        ),
        pytest.param(
            figure("ub_bytes", '"many"', "B"),
            "own.toml:3: ub_bytes: value = 'many'\n  rule: a value is a number\n"
            "  next: write it without quotation marks",
            id="not a number",
        ),
        pytest.param(
            figure("clock_hz", "nan", "Hz"),
            "own.toml:3: clock_hz = nan Hz\n  rule: a figure is a finite number below 2 ** 63\n"
            "  next: give a possible value, as 1000000000.0 Hz",
            id="nan",
        ),
        pytest.param(
            figure("ub_bytes", 131072.5, "B"),
            "own.toml:3: ub_bytes = 131072.5 B\n  rule: it counts B, so it is a whole number\n"
            "  next: write it without a point",
            id="half a byte",
        ),
        pytest.param(
            figure("ai_cores", -1, ""),
            "own.toml:3: ai_cores = -1\n  rule: it is 1 or more\n  next: give a possible value, as 32",
            id="negative",
        ),
        pytest.param(
            figure("mmad_head_cycles", -1, "cycles"),
            "own.toml:3: mmad_head_cycles = -1 cycles\n  rule: it is 0 or more\n"
            "  next: give a possible value, as 4 cycles",
            id="negative head",
        ),
        pytest.param(
            figure("gm_unaligned_percent", 150, "%"),
            "own.toml:3: gm_unaligned_percent = 150 %\n  rule: it is the part that is left of a "
            "bandwidth, 1 to 100 %\n"
            "  next: give a possible value, as 70 %",
            id="more than everything",
        ),
        pytest.param(
            figure("event_ids_per_pipe_pair", 9, ""),
            "own.toml:3: event_ids_per_pipe_pair = 9\n  rule: 8 is the most that can be encoded\n"
            "  next: give a possible value, as 4",
            id="more than a record holds",
        ),
        pytest.param(
            figure("gm_fast_align_bytes", 96, "B"),
            "own.toml:3: gm_fast_align_bytes = 96 B\n  rule: it is a power of two\n"
            "  next: give a possible value, as 512 B",
            id="no power of two",
        ),
        pytest.param(
            figure("block_bytes", 64, "B"),
            "own.toml:3: block_bytes = 64 B\n  rule: it is 32 on every chip: instructions count "
            "bursts and strides in "
            "blocks of this size\n  next: remove it",
            id="fixed by the encoding",
        ),
        pytest.param(
            figure("ub_bytes", 131080, "B"),
            "own.toml:3: ub_bytes = 131080 B\n  rule: a memory is a multiple of 32 bytes, the "
            "smallest access\n"
            "  next: take 131072 or 131104",
            id="no whole blocks",
        ),
        pytest.param(
            figure("l2_bytes", 33554464, "B"),
            "own.toml:3: l2_bytes = 33554464 B\n  rule: L2 is whole sets: a multiple of "
            "l2_line_bytes * l2_ways = 8192\n"
            "  next: take 33554432, or change l2_ways",
            id="no whole sets",
        ),
        pytest.param(
            figure("ub_banks", 60, ""),
            "own.toml:3: ub_banks = 60\n  rule: every group has as many banks: a multiple of "
            "ub_bank_groups = 16\n"
            "  next: take 48",
            id="no whole groups of banks",
        ),
        pytest.param(
            figure("peak_fp16_flops", 1e15, "FLOP/s"),
            "own.toml:3: peak_fp16_flops = 1e+15 FLOP/s\n  rule: within 3% of what cores, cube and "
            "clock give, "
            "2.62144e+14\n  next: correct it, or remove it: it is then derived",
            id="a peak out of nowhere",
        ),
        pytest.param(
            figure("cube_k", 4096, ""),
            "own.toml: cube of 16 x 4096 x 16 in fp16\n  rule: L0 holds one product: it needs 131072 "
            "bytes, l0a_bytes "
            "is 65536\n  next: enlarge l0a_bytes, or make the cube smaller",
            id="cube larger than L0",
        ),
        pytest.param(
            figure("cube_k", 256, ""),
            "own.toml: cube of 16 x 256 x 16 in fp16\n  rule: L0 feeds the cube: with the best tile, "
            "64 x 64, loading "
            "takes 12.0 times as long as multiplying (512 and 256 B/cycle into L0A and L0B)\n  next: "
            "make the cube "
            "smaller, or load2d_l0a_bytes_per_cycle, load2d_l0b_bytes_per_cycle or L0 larger",
            id="cube that L0 cannot feed",
        ),
        pytest.param(
            "base = \n",
            "own.toml:1:8: Invalid value (at line 1, column 8)\n  rule: a platform's file is TOML\n  "
            "next: mend the "
            'line; a figure is written as ub_bytes = { value = 131072, unit = "B", provenance = "assumed", '
            'source = "what if UB were halved" }',
            id="no TOML",
        ),
        pytest.param(
            'base = "ascend910"\n',
            "own.toml:1: unknown base 'ascend910'\n  rule: the base is a chip of the kit, or a file\n"
            "  next: did you mean ascend910a or ascend910b1 or ascend310?",
            id="unknown base",
        ),
        pytest.param(
            "[figures]\n",
            "own.toml: base is missing\n  rule: a chip inherits from one whose figures it changes\n  "
            "next: write base = "
            '"ascend910a"; the kit has ascend310, ascend310p3, ascend910a, ascend910b1, ascend_lite, '
            'ascend_tiny',
            id="no base",
        ),
        pytest.param(
            'base = "other.toml"\n',
            'own.toml:1: base = "other.toml"\n  rule: a base in a file lies beside this one: no file '
            'other.toml\n'
            "  next: correct it",
            id="missing base",
        ),
        pytest.param(
            'base = "own.toml"\n',
            "own.toml: base leads back to this file: own.toml -> own.toml\n  rule: a chip inherits "
            "from another one\n"
            '  next: let one of them have a chip of the kit as its base, as in base = "ascend910a"',
            id="cyclic base",
        ),
        pytest.param(
            'base = "ascend910a"\nname = "ascend310"\n',
            'own.toml:2: name = "ascend310"\n  rule: a user\'s chip has a name of its own, so that '
            'its results are not '
            'taken for those of a chip of the kit\n  next: write name = "my_ascend310"',
            id="name of another chip",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_gets_one_message(refusal, text, message):
    """The object with its line, the rule, the numbers, the next step."""
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "x = 1\n",
            "own.py defines 0 platforms: none\n  rule: it defines exactly one, beside chips of the "
            "kit and those that "
            'it inherits from\n  next: write my_chip = platform("ascend910a").with_figures(...)',
            id="none",
        ),
        pytest.param(
            "from davinci_sim.platforms import assumed, platform\n"
            "a, b = (platform('ascend910a').with_figures(n, ub_bytes=assumed(s, 'B', 'a what-if'))\n"
            "        for n, s in (('a', 131072), ('b', 65536)))\n",
            "own.py defines 2 platforms: a, b\n  rule: it defines exactly one, beside chips of the "
            "kit and those that "
            "it inherits from\n  next: delete all but one",
            id="two",
        ),
        pytest.param(
            "x = 1\ny = x / 0\n",
            "own.py cannot be run: ZeroDivisionError: division by zero\n  rule: a Python file of a "
            "chip defines one "
            "Platform\n  next: see own.py:2",
            id="an error",
        ),
        pytest.param(
            "x = (\n",
            "own.py cannot be run: SyntaxError: '(' was never closed (own.py, line 1)\n  rule: a "
            "Python file of a chip "
            "defines one Platform\n  next: see own.py:1",
            id="no Python",
        ),
        pytest.param(
            "from davinci_sim.platforms import Platform, assumed, platform\n"
            "mine = platform('ascend910a').with_figures('mine', ub_bytes=assumed(-32, 'B', 'a what-if'))\n",
            "own.py: ub_bytes = -32 B\n  rule: it is 1 or more\n  next: give a possible value, as 262144 B",
            id="impossible figure",
        ),
        pytest.param(
            "from davinci_sim.platforms import Platform, assumed\n"
            "mine = Platform('mine', 'from nothing', {'ub_bytes': assumed(32, 'B', 'a what-if')})\n",
            "own.py: clock_hz is missing\n  rule: a chip has every figure\n  next: start from "
            'platform("ascend910a").with_figures(...)',
            id="missing figures",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_python_file_gets_one_message(refusal, text, message):
    """A Python file is run, and what it makes is checked like a TOML file."""
    assert refusal(text, "own.py") == message


def test_a_file_that_is_not_there_is_answered_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("chips").mkdir()
    Path("chips/mine.toml").touch()
    for name, step in (
        ("chips/min.toml", "did you mean chips/mine.toml?"),
        ("own.py", "give the path of a TOML or Python file"),
    ):
        with pytest.raises(DavinciError) as error:
            platform(name)
        assert str(error.value) == (
            f"there is no file {name}\n  rule: a platform is a chip's name or a file\n  next: {step}"
        )


def test_a_file_of_another_kind_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("chips").mkdir()
    Path("chips/mine.json").touch()
    with pytest.raises(DavinciError) as error:
        platform("chips/mine.json")
    assert str(error.value) == (
        "chips/mine.json: it ends in .json\n  rule: a platform's file is TOML or Python\n"
        "  next: call it mine.toml or mine.py"
    )
