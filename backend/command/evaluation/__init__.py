"""What `ovdiff evaluate` writes and reads besides figures: pages, pictures, comparisons, folders of your own."""
