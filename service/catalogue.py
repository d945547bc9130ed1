"""The generators that are served, found by the name that a request gives."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from models.shelf import Generator
from service.errors import Refusal
from service.schemas import EXPECTED, shown


class Catalogue:
    """What the shelf held at the start, the newest version of a name first."""

    def __init__(self, generators: Sequence[Generator]) -> None:
        self.generators = tuple(generators)
        self._newest = {generator.name: generator for generator in reversed(self.generators)}
        self._found = self._newest | {generator.reference: generator for generator in self.generators}

    def find(self, reference: str | None) -> Generator:
        """The generator called "name" (its newest version) or "name:version"; the only name when None.

        Raises Refusal.
        """
        if reference is None:
            if len(self._newest) == 1:
                return self.generators[0]
            raise self._refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "there are several generators, name one")
        if generator := self._found.get(reference):
            return generator
        raise self._refusal(HTTPStatus.NOT_FOUND, f"there is no generator {shown(reference)}; there are")

    def describe(self) -> dict[str, Any]:
        """Every generator with its digest and contract, as JSON."""
        return {
            "models": [
                {
                    "model": generator.reference,
                    "name": generator.name,
                    "version": generator.version,
                    "digest": generator.digest,
                    "contract": generator.contract.model_dump(mode="json", by_alias=True),
                }
                for generator in self.generators
            ]
        }

    def _refusal(self, status: HTTPStatus, message: str) -> Refusal:
        references = ", ".join(generator.reference for generator in self.generators)
        return Refusal(
            status,
            f"{message}: {references}",
            field="model",
            expected=f"{EXPECTED['model']}; see GET /models",
        )
