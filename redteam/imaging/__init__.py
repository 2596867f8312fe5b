"""Pure functions on pixels: codecs, the 8-bit grid, resampling and filters; batches are (n, 3, h, w) float32 in [0, 1]."""
