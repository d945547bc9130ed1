"""Side by side measurements, each a command; the last results stand beside it."""
