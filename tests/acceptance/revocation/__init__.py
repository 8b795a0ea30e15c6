"""Rights that change under open pages: in every wire format, on two processes, byte by byte."""
