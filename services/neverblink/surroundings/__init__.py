"""What a plant file relies on outside of itself: files of this machine, models, and who answers on the network."""

from neverblink.surroundings.asking import ask
from neverblink.surroundings.finding import Finding
from neverblink.surroundings.looking import look

__all__ = ["Finding", "ask", "look"]
