"""Image watermarks: targets that can be embedded, read and attacked."""

if __name__ == "watermark":
    raise ImportError("import redteam.watermark, not watermark: the folder is part of the redteam package")
