"""The sources of images: the addresses that may be fetched, the decoding into pixels, and Label Studio as a server."""
