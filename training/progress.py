"""How far a run is."""

from dataclasses import asdict, dataclass, field
from typing import Any

from training.stopping import Measurement


@dataclass
class Progress:
    """Real images seen, seconds spent, and on what.

    measured: since it began, but for what it lost when it went back to its best state; returns: how often it
    did; returned_at: how many images it had seen when it last did.
    """

    images_seen: int = 0
    seconds: float = 0.0
    hardware: str = ""
    measured: list[Measurement] = field(default_factory=list)
    returns: int = 0
    returned_at: int = 0

    @property
    def learning_rate_share(self) -> float:
        """What each return has left of the learning rate."""
        return 0.5**self.returns

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)
        self.measured = [Measurement(**one) for one in state_dict["measured"]]
