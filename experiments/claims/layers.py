"""Which layer of its network a node of a step belongs to, by the weights that it touches."""

from __future__ import annotations

import re

from framework.graph_engine.data.graph import VARIABLE, Graph, Node

UPDATES = re.compile("apply_|lamb_|all_finite|square_sum|global_norm")
"""Operators of the optimiser and of what guards it."""
OPTIMIZER, INPUT = "optimizer", "input"
STAGES = (3, 7, 13)
"""Blocks of ResNet-50 at which stages begin."""
_RESNET_BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")
_BERT_LAYER = re.compile(r"(?:^|\.)layer(\d+)\.(\w+)")


def layers_of(graph: Graph) -> dict[str, str]:
    """Return the layer of every node by its name.

    A node that reads a weight belongs to the weight's layer, also by way of casts and conversions; others to
    that of the first node that made one of their inputs. Updates of weights are the optimizer's.
    """
    found: dict[str, str] = {}
    made_by = {value.name: layer_of_weight(value.name) for value in graph.of_kind(VARIABLE)}
    weights = set(made_by)
    for node in graph.nodes:
        found[node.name] = _layer(node, made_by, weights)
        made_by |= dict.fromkeys(node.outputs, found[node.name])
        if weights.issuperset(node.inputs):
            weights.update(node.outputs)
    return found


def _layer(node: Node, made_by: dict[str, str], weights: set[str]) -> str:
    """Return the layer of a node whose inputs were made by known layers."""
    if UPDATES.match(node.op):
        return OPTIMIZER
    known = [name for name in node.inputs if name in made_by]
    own = [made_by[name] for name in known if name in weights]
    return next(iter(own or [made_by[name] for name in known]), INPUT)


def layer_of_weight(name: str) -> str:
    """Name the layer of a parameter: a block of ResNet-50, a part of a layer of BERT, or what it is called.

    >>> layer_of_weight("blocks.4.reduce.conv.weight"), layer_of_weight("net.bert.layer3.dense_in.weight")
    ('stage 2, block 4', 'layer 3, feed forward')
    """
    block = _RESNET_BLOCK.search(name)
    if block is not None:
        number = int(block[1])
        return f"stage {1 + sum(number >= first for first in STAGES)}, block {number}"
    layer = _BERT_LAYER.search(name)
    if layer is not None:
        part = "attention" if layer[2].startswith("attention") else "feed forward"
        return f"layer {layer[1]}, {part}"
    if "embeddings" in name:
        return "embeddings"
    return name.partition(".")[0] if name.startswith(("stem", "fc")) else "heads"
