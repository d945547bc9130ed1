"""From a folder of images to an exported generator."""
