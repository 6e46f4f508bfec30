"""The fault table's rig: one service as a process, what it depends on, and one fault between them."""
