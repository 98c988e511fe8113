// tessera distort: measures what every patch on every channel does to the output, and writes the distortion file.
