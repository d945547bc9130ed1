"""Where training and serving meet: the contract of exported generators, the shelf, and the generators."""
