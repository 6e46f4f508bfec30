"""What the simulated PLC calls its parts: serial numbers that grow, lots of fifty, carriers that come round."""

from neverblink.plant import IdentityNodes

ORDER = "4711"
_LOT = 50
_CARRIERS = 8


def names_of(nodes: IdentityNodes, epoch: int, number: int, challenge: str = "") -> dict[str, str]:
    """Return what the identity nodes of a part hold, by field; `challenge` is the reference part that it is."""
    known = {
        "order": ORDER,
        "lot": lot_of(number),
        "serial": serial_of(epoch, number),
        "recipe": "standard",
        "carrier": f"C{number % _CARRIERS + 1}",
    }
    known["challenge"] = challenge
    return {field: known.get(field, f"{number % 3 + 1}") for field in nodes.by_field}


def serial_of(epoch: int, number: int) -> str:
    """Return the serial number of a part."""
    return f"SN-{epoch:03}-{number:07}"


def lot_of(number: int) -> str:
    """Return the lot of a part."""
    return f"L{number // _LOT + 1:04}"
