"""`python -m training` is the command line `ganserve`; torchrun starts it as `torchrun ... -m training`."""

import signal
import sys


def main() -> None:
    """Run the command line, where what it needs is installed: serving alone installs none of it."""
    try:
        from training.cli import app  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.exit(f"ganserve: training is not installed here ({error}); run: make test")
    except KeyboardInterrupt:  # importing takes seconds
        sys.exit(128 + signal.SIGINT)
    app()


if __name__ == "__main__":
    main()
