"""What people changed: annotations beside the predictions that they replaced, and measures of how good those were."""
