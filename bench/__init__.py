"""What livepush costs, against a bare pipeline that does nothing but deliver: `make bench`.

    A  1,000 subscribers, a closed loop with 32 events outstanding      deliveries/s, and per second of the server's CPU
    D  100 subscribers, 50 events/s                                     ms from the publish call to the client's recv()
    W  1,000 subscribers of each wire format, one event outstanding     us of the server's CPU each, KB of a connection
    B  5,000 idle connections                                           KB of the server's memory each, handshakes/s

The server has core 0 for itself; the load generator (`wsload.c`), the publisher and RabbitMQ share core 1. All subjects
are measured in one run, in turn, and only their ratios mean anything on another machine: `docs/performance.md`.

Where the server's core is not busy all the time in A, the other core was the limit: `publish()` checks, numbers and has
confirmed what pika alone only sends. Deliveries per second of the server's CPU compare the servers then.
"""
