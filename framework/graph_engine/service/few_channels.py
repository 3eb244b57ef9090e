"""The first layer: images of at most 4 channels lie without padding where the chip convolves them faster so.

Padded to 16 channels, an image of three takes 5.3 times its bytes, and most of a fractal of the cube's
inner axis is zeros. As NC1HWC0_C04 and FRACTAL_Z_C04 four elements of the filter share a fractal. The
gradient to the input has no kernel for these formats: where it is wanted the layer stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import AICORE, Graph, Node
from framework.graph_engine.service.formats import MOST_CHANNELS
from framework.graph_engine.service.fusion.draft import Change, Draft
from framework.graph_engine.service.fusion.gain import Gain, measured
from framework.graph_engine.service.split import place

IMAGE = {"conv2d": 0, "conv2d_backward_filter": 1}
"""Operator -> which of its inputs is the image."""
TO_INPUT = "conv2d_backward_input"


def few_channels(graph: Graph, platform: Platform) -> Graph:
    """Return the graph with small-channel kernels for each image that is convolved faster by them.

    before  %y = conv2d(%x, %w); %dw = conv2d_backward_filter(%dy, %x)
    after   %y = conv2d(%x, %w, few=1); %dw = conv2d_backward_filter(%dy, %x, few=1)
    """
    images = dict.fromkeys(node.inputs[IMAGE[node.op]] for node in graph.nodes if _is_candidate(graph, node))
    if not images:
        return graph
    draft, changed, notes = Draft(graph, platform), dict[str, Node](), list(graph.notes)
    for image in images:
        pairs = list(_replaced(draft, image))
        if not pairs:
            continue
        gain = _total([measured(draft, Change((old,), (new,))) for old, new in pairs])
        notes.append(f"few_channels: {' + '.join(old.name for old, _ in pairs)}: {gain.text()}")
        if gain.pays:
            changed |= {old.name: new for old, new in pairs}
    return graph.with_nodes(tuple(changed.get(node.name, node) for node in graph.nodes)).with_notes(notes)


def _is_candidate(graph: Graph, node: Node) -> bool:
    """Tell whether a node convolves an image of few channels on the cores."""
    if node.op not in IMAGE or node.engine != AICORE:
        return False
    return graph.values[node.inputs[IMAGE[node.op]]].type.shape[1] <= MOST_CHANNELS


def _replaced(draft: Draft, image: str) -> Iterator[tuple[Node, Node]]:
    """Yield the nodes that convolve an image with those that take it without padding; none: some cannot."""
    found = []
    for node in draft.readers(image):
        if not _is_candidate(draft.graph, node) or node.inputs[IMAGE[node.op]] != image:
            continue
        made = place(draft.graph, node, draft.platform, few=1)
        weights_are_shared = any(reader.op == TO_INPUT for reader in draft.readers(node.inputs[1]))
        if made.engine != AICORE or (node.op == "conv2d" and weights_are_shared):
            return
        found.append((node, made))
    yield from found


def _total(gains: list[Gain]) -> Gain:
    """Return what some changes spare together; without the time of one, there is none."""
    is_timed = all(gain.before for gain in gains)
    nbytes, launches = sum(gain.nbytes for gain in gains), sum(gain.launches for gain in gains)
    if not is_timed:
        return Gain(nbytes, launches=launches)
    return Gain(nbytes, sum(gain.before for gain in gains), sum(gain.after for gain in gains), launches)
