"""Pure measurements: image quality, detection, and the statistics that say how far to trust them."""
