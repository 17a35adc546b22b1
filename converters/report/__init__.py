"""What the corrections say, for people: JSON, Markdown and one HTML page without scripts."""
