class Mistake(ValueError):
    """What whoever runs a command can mend; the message is one line that says what is wrong, and how."""
