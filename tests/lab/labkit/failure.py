"""What a proof that does not hold raises. It must never be caught by a scenario."""


class Failed(Exception):
    """Something the scenario claims is not so."""
