"""Every number of a platform has a unit and a source, and together they give the published peak."""

from __future__ import annotations

import copy
import pickle

import pytest

from davinci_sim.errors import UnknownName
from davinci_sim.platforms import Figure, Platform, assumed, platform, platform_names, published

UNIT_OF_SUFFIX = {
    "_bytes_per_cycle": "B/cycle",
    "_bytes_per_repeat": "B",
    "_bytes": "B",
    "_cycles": "cycles",
    "_hz": "Hz",
    "_flops": "FLOP/s",
}
CHIPS = [platform(name) for name in platform_names()]
EVERY_FIGURE = [(chip, key) for chip in CHIPS for key in chip.figures]


def test_the_910a_is_there():
    """A file in the folder is a platform."""
    assert "ascend910a" in platform_names()
    assert platform("ascend910a").name == "ascend910a"


@pytest.mark.parametrize(("chip", "key"), EVERY_FIGURE, ids=lambda part: str(getattr(part, "name", part)))
def test_a_figure_says_its_unit_and_where_it_comes_from(chip, key):
    """The unit agrees with the key's ending, and the source is a sentence, not a code."""
    figure = chip.figure(key)
    for suffix, unit in UNIT_OF_SUFFIX.items():
        if key.endswith(suffix):
            assert figure.unit == unit
            break
    if key.startswith("vector_cycles."):
        assert figure.unit == "cycles"
    assert len(figure.source.split()) >= 4
    assert figure.value > 0
    if figure.unit in {"B", "cycles", ""}:
        assert isinstance(figure.value, int)


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_the_derived_peak_is_the_published_peak(chip):
    """Cores, cube and clock give the advertised rate within 3 %."""
    assert chip.peak_flops("fp16") == pytest.approx(chip.peak_fp16_flops, rel=0.03)
    assert chip.peak_flops("int8") == pytest.approx(chip.peak_int8_ops, rel=0.03)


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


def test_a_platform_can_be_copied_and_sent_to_another_process():
    """Copies are equal and hash alike."""
    chip = platform("ascend910a")
    for twin in (copy.deepcopy(chip), pickle.loads(pickle.dumps(chip))):
        assert twin == chip
        assert hash(twin) == hash(chip)
