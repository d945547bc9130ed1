class Mistake(ValueError):
    """What whoever runs a command can mend; the message is one line: what is wrong, and what to do."""
