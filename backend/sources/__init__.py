"""Where images come from: which addresses may be fetched, how bytes become pixels, and Label Studio itself."""
