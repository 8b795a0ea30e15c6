"""What every transport refuses, and where each of its bounds is, on bare sockets."""
