"""What both sides of livepush share: names, envelope, topology, publisher, ingest, feed and the embedded broker.

Nothing here knows Django, and only `amqp`, `feed` and `embedded` import Twisted.
"""
