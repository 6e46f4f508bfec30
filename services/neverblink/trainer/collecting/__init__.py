"""Pictures before a fit: looked over where they lie, or taken from the line first."""
