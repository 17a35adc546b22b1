"""Label Studio's own forms: the label config, exports and tasks, and what it drops or hides in silence."""
