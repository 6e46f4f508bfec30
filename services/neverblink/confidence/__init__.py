"""How far a figure may be from what it stands for."""
