"""Why images cannot be used."""

from models.mistake import Mistake


class DataError(Mistake):
    """Images that cannot be learned from; the message says which, and what to do."""


class NoSplit(DataError):
    """Images of `source` without the split that is wanted."""

    def __init__(self, source: object, split: str) -> None:
        option = " with --test" if split == "test" else ""
        super().__init__(f"{source} has no {split} split; name other images{option}")
