"""Jobs that make and judge models. They run as commands and end; nothing here serves."""
