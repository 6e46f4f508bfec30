"""How a service does, for whoever asks over HTTP: does it live, is it ready, which one is it, what does it measure."""

from neverblink.service_life.health.places import HealthPlaceError, place_of
from neverblink.service_life.health.server import serving
from neverblink.service_life.health.state import STATE, State

__all__ = ["STATE", "HealthPlaceError", "State", "place_of", "serving"]
