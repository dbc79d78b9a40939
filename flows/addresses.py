"""How messages name the address of a server."""

import re


def shown_address(address: str) -> str:
    """Return an address without what may be secret: its user, password, query and fragment."""
    scheme, separator, rest = address.rpartition("://")
    host = re.split(r"[?#]", rest.rpartition("@")[2], maxsplit=1)[0]
    return f"{scheme.partition('://')[0]}{separator}{host}"
