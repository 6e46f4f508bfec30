"""A model that a page lets score: through the registry, as the command does, and never longer than a page waits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from neverblink.console.onboarding.products import OnboardingError
from neverblink.errors import NeverblinkError
from neverblink.plant import Plant
from neverblink.service_life import time_limit

_WITHIN_S: Final = 45.0


async def activate(
    plant: Plant, stations: Sequence[str], artifact: str, who: str, why: str, now: datetime
) -> tuple[str, ...]:
    """Let a model score these stations (LINE/STATION), and return what a person should know. Raises OnboardingError.

    Where the product has a golden set, a report must be there that the model passes it.
    """
    # What reads artifacts takes a second to load, and few who open the console activate a model.
    from neverblink.model_registry import registry
    from neverblink.model_registry.changes import Stamp, Which

    try:
        async with time_limit(_WITHIN_S):
            which, stamp = Which(stations=tuple(stations)), Stamp(who, why or None, now)
            return (await registry.activate(plant, which, artifact, None, stamp)).notes
    except TimeoutError as error:
        raise OnboardingError(
            "Kafka has not answered within %(seconds)s seconds: whether the model scores is told by the stations",
            seconds=round(_WITHIN_S),
        ) from error
    except NeverblinkError as error:
        raise OnboardingError("the model was not activated: %(reason)s", reason=error) from error


def stations_of(plant: Plant, line: str, product: str) -> list[str]:
    """Return the stations (LINE/STATION) of a line that inspect a product, by the plant file."""
    return [
        f"{one.name}/{station.name}"
        for one, station in plant.stations()
        if one.name == line and station.product == product
    ]
