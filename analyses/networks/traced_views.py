"""Views of a traced program that only rename a tensor: each costs microseconds of every replay."""

import torch
from torch import fx

_VIEWS = (
    torch.ops.aten.detach.default,
    torch.ops.aten.expand.default,
    torch.ops.aten.permute.default,
    torch.ops.aten.view.default,
    torch.ops.aten._unsafe_view.default,
)


def without_idle_views(traced: fx.GraphModule) -> fx.GraphModule:
    """The program of `make_fx`, in place, without the views that have their source's shape and strides.

    It is to be run without gradients: a `detach` does nothing there.
    """
    for node in traced.graph.nodes:
        if node.target in _VIEWS:
            (source,) = node.all_input_nodes
            before, after = source.meta["val"], node.meta["val"]
            if (before.shape, before.stride()) == (after.shape, after.stride()):
                node.replace_all_uses_with(source)
                traced.graph.erase_node(node)
    traced.recompile()
    return traced
