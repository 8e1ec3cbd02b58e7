"""What lies on disk: shards of rows, the manifest, what codecs learned; here or behind a URL."""
