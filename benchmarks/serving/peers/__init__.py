"""Servers that others would write for the same work, a file each; `images` is what they share."""
