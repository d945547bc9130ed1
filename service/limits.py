"""How much one request may ask for."""

MOST_IMAGES = 256

# Seeds and indexes are below these.
SEEDS = 2**63
INDEXES = 2**63
