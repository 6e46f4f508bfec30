"""How good the inspection is: what is asked, what is counted, and how it is drawn."""
