"""The arguments of each command, and what they call; a module for each group of commands."""
