"""One request for predictions: its tasks become the items that Label Studio stores, its clicks become masks."""
