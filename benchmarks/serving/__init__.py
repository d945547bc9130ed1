"""Ganserve beside its peers under the same load: `make bench`."""
