"""Spectral normalisation: every linear map of a network is divided by its largest singular value."""

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

NORMALIZATIONS = ("none", "spectral")


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


def _norms(network: nn.Module) -> list[parametrize.ParametrizationList]:
    return [module for module in network.modules() if isinstance(module, parametrize.ParametrizationList)]
