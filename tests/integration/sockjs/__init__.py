"""SockJS on real sockets: the stock client under Node, and raw requests."""
