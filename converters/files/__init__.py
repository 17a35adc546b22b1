"""Files on a disk: writing files and folders that appear whole or not at all, and reading with limits."""
