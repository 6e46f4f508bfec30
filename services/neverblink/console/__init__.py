"""The console: pages where people see what the plant decides, behind accounts of its own."""
