"""What the engine answers, told to people: sentences and pictures, for the commands and for the pages."""
