"""The answers to Label Studio: HTTP routes, predictions, prototypes made in the background, and the state file."""
