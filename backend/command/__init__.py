"""The command `ovdiff`: its arguments, and one module for each of its subcommands."""
