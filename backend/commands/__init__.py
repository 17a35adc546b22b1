"""What the commands of `ovdiff` do, a module a command; `backend.cli` only reads arguments."""
