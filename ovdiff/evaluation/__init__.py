"""How good masks are on labelled datasets: datasets, figures of each image, and what follows from them."""
