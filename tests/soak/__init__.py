"""Whether livepush keeps its promise while everything around it breaks: `make soak SECONDS=60`.

    soaked       a Django site, and publishers in real processes: gunicorn with threads, gunicorn with processes that
                 come and go, a worker whose children end by `os._exit`, shells that say one thing, durable publishers
                 that are killed between commit and publish; each tells in a journal what it published
    clients      some fifty pages in one process, of users who may know different things, with the rules of
                 `livepush.js`; each tells in a log what it was given
    world        a RabbitMQ and two daemons (or three of each, and a Redis), a relay, proxies between them, all on
                 loopback
    schedule     which fault comes when, from a seed
    faults       what each one does, to the real thing
    checker      afterwards, for every client: what it was given is what it may know, or a `resync` stands before the
                 hole; in each publisher's order; nothing twice; nothing that it may not know
    presence     that every daemon, and Django, tell of exactly those who are here
    report       the table

It exits with 1 when a promise was broken, and 2 when the soak itself could not be done.
"""
