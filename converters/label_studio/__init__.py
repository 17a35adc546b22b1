"""Label Studio's own forms: the label config, exports and tasks, and the faults that it drops or hides in silence."""
