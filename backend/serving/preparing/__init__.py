"""What projects want and the bank lacks: built in the background, in turns."""
