"""How the console's tables came to be: a module a layout, each written out, so that it goes on making just that layout.

What a released layout is made of is never changed: a later one changes its tables.
"""
