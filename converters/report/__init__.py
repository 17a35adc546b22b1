"""The report on corrections for people: JSON, Markdown and one HTML page without scripts."""
