"""The building half of the method: a category's phrases become its prototype set. It knows no image to segment."""
