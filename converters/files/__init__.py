"""What lies on a disk: files and folders that appear whole or not at all, and reading with limits."""
