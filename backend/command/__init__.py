"""The command `ovdiff`: its arguments, and what each command does."""
