"""Folding batch norms into the convolutions before them, for any network that runs."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from neverblink.vision.image_network import ImageNetwork

_TOLERANCE = 1e-4

_Network = TypeVar("_Network", bound=ImageNetwork)


def fused(network: _Network, *, side: int) -> _Network:
    """Return a copy in evaluation mode whose batch norms are folded in; the original stays as it is."""
    copied = copy.deepcopy(network).eval()
    copied.network = fuse_batch_norms(copied.network, side=side)
    return copied


@torch.no_grad()
def fuse_batch_norms(network: nn.Module, *, side: int) -> nn.Module:
    """Return a copy of a network in which every batch norm that directly follows a convolution is folded in.

    The pairs are found by watching one forward pass of a (1, 3, side, side) probe: a norm whose input is the
    very tensor a convolution returned. The original is returned when the fused outputs differ by more than
    1e-4 of their largest value: a network that uses a convolution's output twice must not be folded.
    """
    probe = torch.randn((1, 3, side, side), generator=torch.Generator().manual_seed(0))
    fused = copy.deepcopy(network)
    for convolution, norm in _pairs(fused, probe):
        _fold(fused, convolution, norm)
    for before, after in zip(network(probe), fused(probe), strict=True):
        if float((before - after).abs().max()) > _TOLERANCE * float(before.abs().max()):
            return network
    return fused


def _pairs(network: nn.Module, probe: Tensor) -> list[tuple[str, str]]:
    made: dict[int, tuple[str, Tensor]] = {}
    pairs: list[tuple[str, str]] = []

    def remember(name: str) -> object:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            made[id(output)] = (name, output)  # the tensor is kept alive, so its id stays its own

        return hook

    def match(name: str) -> object:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if id(inputs[0]) in made:
                pairs.append((made[id(inputs[0])][0], name))

        return hook

    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(remember(name)))  # type: ignore[arg-type]
        elif isinstance(module, nn.BatchNorm2d):
            handles.append(module.register_forward_pre_hook(match(name)))  # type: ignore[arg-type]
    network(probe)
    for handle in handles:
        handle.remove()
    return pairs


def _fold(network: nn.Module, convolution_name: str, norm_name: str) -> None:
    convolution, norm = network.get_submodule(convolution_name), network.get_submodule(norm_name)
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    # timm's batch norms carry the activation that follows them.
    activation = getattr(norm, "act", None)
    parent, _, child = norm_name.rpartition(".")
    setattr(
        network.get_submodule(parent),
        child,
        activation if isinstance(activation, nn.Module) else nn.Identity(),
    )
