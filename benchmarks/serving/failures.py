"""Why a server has no figures: the message is one line, for the table."""


class Failure(Exception):
    """What went wrong with a server.

    Failure
    ├── NotInstalled   its packages cannot be had
    ├── NotStarted     it did not come up
    ├── WrongAnswer    it answers something else than the images that it was asked for
    └── LoadFailed     it was lost under load
    """


class NotInstalled(Failure): ...


class NotStarted(Failure): ...


class WrongAnswer(Failure): ...


class LoadFailed(Failure): ...
