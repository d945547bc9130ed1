"""Spectral normalisation of a discriminator, and the statistics of a generator's batch normalisation."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm


def normalize_spectrum(network: nn.Module) -> None:
    """Divide each weight by its spectral norm from now on (Miyato et al. 2018, arXiv 1802.05957).

    Weights that are all zero, which have no direction to keep, are drawn anew.
    """
    for module in list(network.modules()):
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight.ndim > 1:
                if not weight.any():
                    nn.init.normal_(weight)
                spectral_norm(module, name)
    for norm in _norms(network):
        norm.eval()  # `update_spectrum` iterates, once an update, however often the weight is read


@torch.no_grad()
def update_spectrum(network: nn.Module) -> None:
    """One power iteration of every spectral norm (Miyato et al. 2018, algorithm 1)."""
    for norm in _norms(network):
        norm.train()
        norm()
        norm.eval()


@contextmanager
def full_precision_spectrum(network: nn.Module) -> Iterator[None]:
    """Divide the weights now, before autocast begins, and not again until the end."""
    with parametrize.cached():
        for module in network.modules():
            if parametrize.is_parametrized(module):
                for name in module.parametrizations:  # type: ignore[union-attr]
                    getattr(module, name)
        yield


def _norms(network: nn.Module) -> list[parametrize.ParametrizationList]:
    return [module for module in network.modules() if isinstance(module, parametrize.ParametrizationList)]


@torch.no_grad()
def measure_statistics(generator: nn.Module, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
    """Set what batch normalisation draws with in eval mode to the mean over batches of latents and labels.

    "Standing statistics" (Brock et al. 2019, arXiv 1809.11096, appendix): a moving average of the weights has
    activations of its own, whose statistics no training step has seen. Leaves the generator in eval mode;
    without batch normalisation that is all.
    """
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    if norms:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        generator.train()
        for latent, label in batches:
            generator(latent, label)
    generator.eval()
