"""Every number of a platform has a unit and a source, and together they give the published peak."""

from __future__ import annotations

import copy
import pickle

import pytest

from davinci_sim.errors import UnknownName
from davinci_sim.platforms import Figure, Platform, assumed, platform, platform_names, published
from davinci_sim.platforms._build import unit_of
from davinci_sim.platforms.check import problems

CHIPS = [platform(name) for name in platform_names()]
OWN_OF_A_CHIP = ("vector_cycles.", "cube_", "link_")
PUBLISHED_PEAKS = [
    (chip, key, dtype)
    for chip in CHIPS
    for key, dtype in (("peak_fp16_flops", "fp16"), ("peak_int8_ops", "int8"))
    if chip.figure(key).provenance == "published"
]


def test_the_kit_has_these_chips():
    """A file in the folder is a platform, unless its name begins with an underscore."""
    assert platform_names() == (
        "ascend310", "ascend310p3", "ascend910a", "ascend910b1", "ascend_lite", "ascend_tiny"
    )  # fmt: skip
    assert [chip.name for chip in CHIPS] == list(platform_names())


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_a_figure_says_its_unit_and_where_it_comes_from(chip):
    """The unit agrees with the key's ending, and the source is a sentence, not a code."""
    figures = {key: chip.figure(key) for key in chip.figures}
    assert {key: each.unit for key, each in figures.items()} == {key: unit_of(key) for key in figures}
    assert [key for key, each in figures.items() if len(each.source.split()) < 4] == []


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_the_figures_of_a_chip_pass_the_checks_of_users_files(chip):
    """What a user's file may not say, ours do not either."""
    assert list(problems(chip)) == []


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_every_chip_has_every_figure(chip):
    """Apart from types of the cube, vector instructions that are not the default, links to other chips."""
    keys = [{k for k in c.figures if not k.startswith(OWN_OF_A_CHIP)} for c in (chip, platform("ascend910a"))]
    assert keys[0] == keys[1]
    assert {"cube_m", "cube_k", "cube_n", "vector_cycles.default"} <= set(chip.figures)


@pytest.mark.parametrize(
    ("chip", "key", "dtype"), PUBLISHED_PEAKS, ids=lambda part: str(getattr(part, "name", part))
)
def test_the_derived_peak_is_the_published_peak(chip, key, dtype):
    """Cores, cube and clock give the advertised rate within 3 %."""
    assert chip.peak_flops(dtype) == pytest.approx(chip.figure(key).value, rel=0.03)


def test_peaks_are_published_for_three_chips():
    """So that the test above tests something."""
    assert {chip.name for chip, _, _ in PUBLISHED_PEAKS} == {"ascend310", "ascend310p3", "ascend910a"}


def test_fp32_in_the_cube_runs_at_a_quarter_of_fp16():
    """The 910B1 multiplies half as deep a fractal in two cycles."""
    chip = platform("ascend910b1")
    assert chip.peak_flops("fp32") == chip.peak_flops("fp16") / 4
    assert chip.peak_flops("bf16") == chip.peak_flops("fp16")


def test_the_small_cubes_have_the_rates_of_their_class():
    """4096 and 512 operations a cycle, against 8192 of the large cube."""
    rates = {
        name: platform(name).peak_flops() / platform(name).clock_hz for name in ("ascend_lite", "ascend_tiny")
    }
    assert rates == {"ascend_lite": 4096, "ascend_tiny": 512}


def test_the_910a_peaks_at_262_teraflops():
    """32 cores x 4096 products x 2 x 1.0 GHz."""
    assert platform("ascend910a").peak_flops() == 262.144e12


def test_vector_cycles_fall_back_to_the_default():
    """An instruction without a figure takes one cycle a repeat."""
    chip = platform("ascend910a")
    assert chip.vector_cycles("vexp", "fp16") == 4
    assert chip.vector_cycles("vexp", "fp32") == 2
    assert chip.vector_cycles("vcmpv_eq", "fp16") == 2
    assert chip.vector_cycles("vadd", "fp16") == chip.figure("vector_cycles.default").value == 1


def test_a_bare_number_is_refused():
    """The message shows how to write the figure."""
    with pytest.raises(TypeError) as error:
        Platform("demo", "a demo", {"ub_bytes": 262144})
    assert str(error.value) == (
        "Platform('demo'): ub_bytes = 262144 is a bare number; a figure says its unit and where it "
        'comes from: write published(262144, "<unit>", "<document>"), or measured, fitted, assumed'
    )


def test_a_figure_without_source_or_with_a_strange_provenance_is_refused():
    """What could not be checked later is refused now."""
    with pytest.raises(ValueError, match="has no source"):
        published(1, "B", " ")
    with pytest.raises(ValueError, match="is not one of published, measured, fitted, assumed"):
        Figure(1, "B", "guessed", "a source")
    with pytest.raises(TypeError, match="a figure's value is a number, not '1'"):
        published("1", "B", "a source")


def test_an_unknown_name_is_answered_with_the_nearest():
    """Platforms, figures and attributes alike."""
    with pytest.raises(UnknownName) as error:
        platform("ascend910")
    assert str(error.value).startswith("unknown platform 'ascend910': did you mean ascend910a")
    chip = platform("ascend910a")
    with pytest.raises(UnknownName, match=r"^unknown figure of ascend910a 'ub_byte': did you mean ub_bytes"):
        chip.figure("ub_byte")
    with pytest.raises(
        AttributeError, match=r"^platform ascend910a has no figure 'ub_byte'; did you mean ub_bytes"
    ):
        _ = chip.ub_byte


def test_a_platform_is_frozen_and_can_be_varied():
    """A what-if is a new platform; the original stays as it is."""
    chip = platform("ascend910a")
    with pytest.raises(AttributeError):
        chip.name = "other"
    with pytest.raises(TypeError):
        chip.figures["ub_bytes"] = assumed(1, "B", "no")
    bigger = chip.with_figures("bigger", ub_bytes=assumed(2 * chip.ub_bytes, "B", "what if UB were doubled"))
    assert (bigger.name, bigger.ub_bytes, chip.ub_bytes) == ("bigger", 524288, 262144)
    assert bigger != chip
    assert bigger.base is chip
    assert bigger.overrides == {"ub_bytes": chip.figure("ub_bytes")}
    assert chip.overrides == {}


def test_a_platform_can_be_copied_and_sent_to_another_process():
    """Copies are equal and hash alike."""
    chip = platform("ascend910a")
    for twin in (copy.deepcopy(chip), pickle.loads(pickle.dumps(chip))):
        assert twin == chip
        assert hash(twin) == hash(chip)
