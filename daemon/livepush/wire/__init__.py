"""Sans-I/O codecs of the browser protocols: bytes in, messages out, and back. No Twisted, no clock."""
