"""What answers Label Studio: routes, predictions, prototypes made in the background, and what survives a restart."""
