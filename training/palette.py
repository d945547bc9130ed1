"""Colours that the colour-blind can tell apart (Okabe and Ito 2008, Color Universal Design)."""

BLUE, ORANGE, GREEN, VERMILLION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
